"""The progress reader, against real sockets: it never makes anyone wait, asks once, and wakes who has news."""

import asyncio
import os
import time
from contextlib import asynccontextmanager

import pytest

from support.worlds import reading
from tunewright.api.common import Kind
from tunewright.cluster.progress_reader import ProgressReader
from tunewright.contract.run_spec import PROGRESS_PORT

KEY = (Kind.FINE_TUNE_JOB, "team", "bot")
ADDRESS = f"127.91.{os.getpid() % 256}.{os.getpid() // 256 % 254 + 1}"  # the port is fixed, and tests run side by side
NOBODY = ADDRESS.replace("127.91", "127.92")


@asynccontextmanager
async def serving(answer):
    """Serve a Pod's progress port; `answer` gives the body, None for a Pod that takes the connection and never speaks. Yields the list of requests."""
    asked = []

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        asked.append(time.monotonic())
        text = answer()
        if text is None:
            await reader.read()
        else:
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, ADDRESS, PROGRESS_PORT)
    try:
        yield asked
    finally:
        server.close()


@asynccontextmanager
async def reader():
    """Yield a reader and the queue of the keys it wakes."""
    woken = asyncio.Queue()
    made = ProgressReader(woken.put_nowait)
    try:
        yield made, woken
    finally:
        await made.close()


async def test_the_first_answer_wakes_the_resource_and_a_burst_asks_once():
    async with serving(lambda: reading(step=7).to_json()) as asked, reader() as (made, woken):
        assert [made.readings(KEY, {"u": ADDRESS}) for _ in range(50)] == [{}] * 50
        assert await asyncio.wait_for(woken.get(), 2) == KEY
        for _ in range(50):
            assert made.readings(KEY, {"u": ADDRESS})["u"].step == 7
            await asyncio.sleep(0)
        assert len(asked) == 1
        assert woken.empty()


async def test_an_old_answer_is_given_at_once_and_only_another_one_wakes(monkeypatch):
    monkeypatch.setattr("tunewright.cluster.progress_reader._LEAST_SECONDS_BETWEEN", 0.0)
    step = 7
    async with serving(lambda: reading(step=step).to_json()) as asked, reader() as (made, woken):
        made.readings(KEY, {"u": ADDRESS})
        await asyncio.wait_for(woken.get(), 2)
        assert made.readings(KEY, {"u": ADDRESS})["u"].step == 7
        await asked_to_the_end(made)
        assert (len(asked), woken.empty()) == (2, True), "it was asked again and said the same"
        step = 8
        assert made.readings(KEY, {"u": ADDRESS})["u"].step == 7
        await asyncio.wait_for(woken.get(), 2)
        assert made.readings(KEY, {"u": ADDRESS})["u"].step == 8


@pytest.mark.parametrize(("answer", "address"), [(lambda: "{}", ADDRESS), (lambda: reading().to_json(), NOBODY)], ids=["no reading", "nobody listens"])
async def test_no_answer_is_an_answer(answer, address):
    async with serving(answer), reader() as (made, woken):
        assert made.readings(KEY, {"u": address}) == {}
        await asyncio.wait_for(woken.get(), 2)
        assert made.readings(KEY, {"u": address}) == {"u": None}


async def test_pods_that_never_speak_keep_nobody_from_the_others():
    async with serving(lambda: None), reader() as (made, woken):
        silent = {f"u{number}": ADDRESS for number in range(100)}
        assert made.readings(KEY, silent) == {}
        made.readings(KEY, {"other": NOBODY})
        await asyncio.wait_for(woken.get(), 1)
        assert made.readings(KEY, {**silent, "other": NOBODY}) == {"other": None}
        for _ in silent:
            await asyncio.wait_for(woken.get(), 5)
        assert made.readings(KEY, silent) == dict.fromkeys(silent)


async def test_a_pod_that_is_gone_wakes_nobody():
    async with serving(lambda: None), reader() as (made, woken):
        made.readings(KEY, {"u": ADDRESS})
        await asyncio.sleep(0.05)
        (asking,) = made._asking.values()
        made.forget("u")
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert woken.empty()
        assert made.readings(KEY, {"u": ADDRESS}) == {}


async def asked_to_the_end(made):
    """Wait until nobody is being asked."""
    await asyncio.gather(*made._asking.values())
