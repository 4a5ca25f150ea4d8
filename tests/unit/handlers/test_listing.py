"""Kopf's first listing: no object waits for the others, and the work begins when all are indexed."""

import asyncio

import pytest
from kopf._cogs.aiokits import aiotoggles

from tunewright.handlers.listing import ListingToggleSet, install

OBJECTS = 100


async def test_no_object_waits_for_the_others_and_all_are_indexed_at_the_end():
    indexed = asyncio.Event()
    toggles = ListingToggleSet(all, indexed)
    kind = await toggles.make_toggle(name="a kind")
    for number in range(OBJECTS):
        toggle = await toggles.make_toggle(name=str(number))
        await toggles.drop_toggle(toggle)
        await asyncio.wait_for(toggles.wait_for(True), 0.1)
        assert not indexed.is_set(), "its list has not ended"
    late = await toggles.make_toggle(name="the last object")
    await toggles.drop_toggle(kind)
    assert not indexed.is_set()
    await toggles.drop_toggle(late)
    assert indexed.is_set()


async def test_a_kind_that_comes_late_holds_up_nobody():
    indexed = asyncio.Event()
    toggles = ListingToggleSet(all, indexed)
    await toggles.drop_toggle(await toggles.make_toggle())
    await toggles.make_toggle(name="late")
    assert indexed.is_set()


async def test_other_sets_are_waited_for_as_ever_and_say_nothing_of_the_index():
    indexed = asyncio.Event()
    toggles = ListingToggleSet(any, indexed)
    waiting = asyncio.create_task(toggles.wait_for(True))
    await asyncio.sleep(0)
    assert not waiting.done()
    paused = await toggles.make_toggle(True)
    await asyncio.wait_for(waiting, 1)
    waiting = asyncio.create_task(toggles.wait_for(False))
    await asyncio.sleep(0)
    assert not waiting.done()
    await toggles.drop_toggle(paused)
    await asyncio.wait_for(waiting, 1)
    assert not indexed.is_set()


@pytest.mark.parametrize("fn", [all, any])
async def test_kopf_makes_its_sets_by_the_name_that_is_replaced(monkeypatch, fn):
    from kopf._core.reactor import orchestration, running

    monkeypatch.setattr(aiotoggles, "ToggleSet", aiotoggles.ToggleSet)
    install(asyncio.Event())
    for module in (orchestration, running):
        assert isinstance(module.aiotoggles.ToggleSet(fn), ListingToggleSet)
