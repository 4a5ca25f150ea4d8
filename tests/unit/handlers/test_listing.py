"""Kopf's first listing: who waits for it to end is woken when it has ended, not for every object that was listed."""

import asyncio

import pytest
from kopf._cogs.aiokits import aiotoggles

from tunewright.handlers.listing import QuietToggleSet, install

OBJECTS = 100


class Counted(QuietToggleSet):
    looks = 0

    async def wait_for(self, state):
        def is_so():
            self.looks += 1
            return self.is_on() == state

        async with self._condition:
            await self._condition.wait_for(is_so)


async def listed(toggles):
    """Index objects as Kopf does, each waiting for all others; return when all have gone on."""
    held = [await toggles.make_toggle(name=str(number)) for number in range(OBJECTS)]
    waiting = []
    for toggle in held:
        waiting.append(asyncio.create_task(toggles.wait_for(True)))
        await asyncio.sleep(0)
        assert not any(each.done() for each in waiting)
        await toggles.drop_toggle(toggle)
    await asyncio.wait_for(asyncio.gather(*waiting), 5)


async def test_each_looks_once_when_it_begins_to_wait_and_once_when_all_are_there():
    toggles = Counted(all)
    await listed(toggles)
    assert toggles.looks <= 2 * OBJECTS


@pytest.mark.parametrize("kind", [all, any])
async def test_whoever_waits_is_woken_by_every_change_of_the_state(kind):
    toggles = QuietToggleSet(kind)
    for _ in range(3):
        empty = toggles.is_on()
        waiting = asyncio.create_task(toggles.wait_for(not empty))
        await asyncio.sleep(0)
        toggle = await toggles.make_toggle(not empty)
        await asyncio.wait_for(waiting, 1)
        waiting = asyncio.create_task(toggles.wait_for(empty))
        await asyncio.sleep(0)
        await toggles.drop_toggle(toggle)
        await asyncio.wait_for(waiting, 1)


def test_kopf_makes_its_sets_by_the_name_that_is_replaced(monkeypatch):
    from kopf._core.reactor import orchestration

    monkeypatch.setattr(aiotoggles, "ToggleSet", aiotoggles.ToggleSet)
    install()
    assert orchestration.aiotoggles.ToggleSet is QuietToggleSet
