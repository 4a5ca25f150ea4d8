"""Login: which token Kopf gets when it asks, and when."""

import itertools
import time

import kopf
import pytest

from tunewright.handlers import login as module
from tunewright.handlers.login import Login


class Clock:
    """Time that passes only in sleeps; at given times the file has a new token."""

    def __init__(self, tokens):
        self.now, self.tokens = 1000.0, tokens

    async def sleep(self, seconds):
        self.now += seconds

    def read(self, **_):
        return kopf.ConnectionInfo(server="https://server", token=[token for since, token in self.tokens if self.now - 1000 >= since][-1])


@pytest.fixture
def clock(monkeypatch):
    made = Clock([(0, "a")])
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    monkeypatch.setattr(module.asyncio, "sleep", made.sleep)
    monkeypatch.setattr(module, "_read", made.read)
    return made


async def test_at_first_the_token_is_given_at_once(clock):
    assert (await Login()()).token == "a"
    assert clock.now == 1000


async def test_a_new_token_is_given_as_soon_as_there_is_one(clock):
    login = Login()
    clock.tokens.append((7, "b"))
    given = [(await login()).token for _ in range(5)]
    assert given[-1] == "b"
    assert clock.now < 1000 + 9


async def test_one_that_was_refused_is_given_again_less_and_less_often_and_never_as_the_same(clock):
    login, times, given = Login(), [], []
    for _ in range(12):
        given.append(await login())
        times.append(clock.now - 1000)
    waits = [b - a for a, b in itertools.pairwise(times)]
    assert waits == sorted(waits)
    assert waits[0] <= 1
    assert waits[-1] >= 60
    assert {each.token for each in given} == {"a"}
    assert all(a != b for index, a in enumerate(given) for b in given[:index]), "Kopf never takes one that equals what it has seen refused"


async def test_a_refusal_long_after_the_last_is_answered_at_once(clock):
    login = Login()
    for _ in range(8):
        await login()
    clock.now += 3600
    before = clock.now
    await login()
    assert clock.now == before
