"""The work queue: a key waits once, is never worked on twice at once, backs off, and an earlier time wins."""

import asyncio
import contextlib

import pytest

from tunewright.cluster.work_queue import BACKOFF_LAST_SECONDS, WorkQueue, backoff_seconds


@contextlib.asynccontextmanager
async def working(queue, handle, workers=4, errors=None):
    def on_error(key, error, delay):
        (errors if errors is not None else []).append((key, error, delay))

    tasks = [asyncio.create_task(queue.work(handle, on_error)) for _ in range(workers)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_key_added_often_is_worked_on_once():
    queue, seen = WorkQueue(), []

    async def handle(key):
        seen.append(key)

    for _ in range(100):
        queue.add("a")
    assert len(queue) == 1
    async with working(queue, handle):
        await asyncio.sleep(0.05)
    assert seen == ["a"]
    assert len(queue) == 0


async def test_a_key_is_never_worked_on_twice_at_once_and_news_are_not_lost():
    queue, running, most, passes = WorkQueue(), 0, 0, 0

    async def handle(key):
        nonlocal running, most, passes
        running, passes = running + 1, passes + 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1

    async with working(queue, handle, workers=8):
        queue.add("a")
        await asyncio.sleep(0.005)
        for _ in range(50):
            queue.add("a")
        await asyncio.sleep(0.1)
    assert most == 1
    assert passes == 2, "what was added during the pass makes exactly one more"


async def test_different_keys_run_at_once():
    queue, running, most = WorkQueue(), 0, 0

    async def handle(key):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1

    async with working(queue, handle, workers=3):
        for key in range(9):
            queue.add(key)
        await asyncio.sleep(0.1)
    assert most == 3, "as many as there are workers"


async def test_a_requeue_comes_back_after_its_time():
    queue, times = WorkQueue(), []

    async def handle(key):
        times.append(asyncio.get_running_loop().time())
        return 0.05 if len(times) == 1 else None

    async with working(queue, handle):
        queue.add("a")
        await asyncio.sleep(0.15)
    assert len(times) == 2
    assert times[1] - times[0] >= 0.049


@pytest.mark.parametrize(("first", "second"), [(0.0, 30.0), (30.0, 0.0)])
async def test_the_earlier_time_wins(first, second):
    queue, seen = WorkQueue(), []

    async def handle(key):
        seen.append(key)

    async with working(queue, handle):
        queue.add("a", first)
        queue.add("a", second)
        await asyncio.sleep(0.05)
    assert seen == ["a"]
    assert len(queue) == 0


async def test_an_error_backs_off_and_a_success_forgets_it():
    queue, errors, calls = WorkQueue(), [], 0

    async def handle(key):
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("once")

    async with working(queue, handle, errors=errors):
        queue.add("a")
        await asyncio.sleep(0.05)
        assert [(key, str(error), delay) for key, error, delay in errors] == [("a", "once", 0.5)]
        assert calls == 1
        await asyncio.sleep(0.6)
    assert calls == 2
    assert queue._failures == {}


async def test_an_event_during_a_failing_pass_waits_out_the_back_off():
    queue, errors, calls = WorkQueue(), [], 0

    async def handle(key):
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.02)
        raise RuntimeError

    async with working(queue, handle, errors=errors):
        queue.add("a")
        await asyncio.sleep(0.01)
        queue.add("a")
        await asyncio.sleep(0.2)
    assert calls == 1


async def test_one_key_that_fails_holds_nobody_up():
    queue, seen = WorkQueue(), []

    async def handle(key):
        if key == "bad":
            raise RuntimeError
        seen.append(key)

    async with working(queue, handle, workers=1):
        for key in ("bad", "a", "b"):
            queue.add(key)
        await asyncio.sleep(0.05)
    assert seen == ["a", "b"]


async def test_stalled_seconds_grow_while_a_pass_hangs():
    queue = WorkQueue()

    async def handle(key):
        await asyncio.sleep(60)

    assert queue.stalled_seconds() == 0
    queue.add("later", 60)
    assert queue.stalled_seconds() == 0, "a key that is not due is not stalled"
    async with working(queue, handle):
        queue.add("a")
        await asyncio.sleep(0.05)
        assert queue.stalled_seconds() >= 0.04


def test_back_off_doubles_up_to_a_minute():
    assert [backoff_seconds(n) for n in (1, 2, 3, 4)] == [0.5, 1, 2, 4]
    assert backoff_seconds(8) == backoff_seconds(10**6) == BACKOFF_LAST_SECONDS


class Later(Exception):
    retry_after = 0.8


async def test_until_a_server_wants_to_be_asked_again_no_event_brings_the_key_back():
    queue, errors, calls, twice = WorkQueue(), [], [], asyncio.Event()

    async def handle(key):
        calls.append(asyncio.get_running_loop().time())
        if len(calls) == 1:
            raise Later
        twice.set()

    async with working(queue, handle, errors=errors):
        queue.add("a")
        await asyncio.sleep(0.05)
        queue.add("a")
        await asyncio.wait_for(twice.wait(), 20)
    assert [delay for _, _, delay in errors] == [0.8]
    assert calls[1] - calls[0] >= 0.79


async def test_an_event_overtakes_a_back_off_that_nobody_asked_for():
    """The back-off is a minute by now; what the user does is looked at before."""
    queue, failed, calls, twice = WorkQueue(), [], 0, asyncio.Event()

    async def handle(key):
        nonlocal calls
        calls += 1
        if calls == 2:
            twice.set()
        raise RuntimeError

    queue._failures["a"] = 12
    async with working(queue, handle, errors=failed):
        queue.add("a")
        await asyncio.sleep(0.1)
        queue.add("a")
        await asyncio.wait_for(twice.wait(), BACKOFF_LAST_SECONDS / 3)
    assert failed[0][2] == BACKOFF_LAST_SECONDS
