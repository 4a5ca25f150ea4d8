"""Status truth against a real API server: what `kubectl get` and `kubectl describe` print for every row of support/truth.py, there and back."""

import asyncio
import re
import time
from collections import Counter

from support.api_server import ADMIN, TOKENS, WRITES
from support.async_api import AsyncApi
from support.columns import read_table
from support.paths import PLURALS
from support.stand_in import serving_progress
from support.truth import TABLES, expected, healthy, is_better_than, says_when_well
from support.truth_player import ANSWERING, Player
from support.worlds import reading

PATIENCE = 45
"""Seconds until all tables must be right; a Pod that does not answer is asked twice before."""
QUIET = 5
"""Seconds in which nothing happens: a poll of the progress is within them, and a pass that finds nothing to do would come back often."""


async def test_every_row_there_and_back(server, operator, record_property):
    began = time.monotonic()
    async with AsyncApi.connected(server.port, TOKENS[ADMIN], watches=0) as api:
        players = [Player(kind, row, f"truth-{PLURALS[kind]}-{number}", api) for kind, rows in TABLES.items() for number, row in enumerate(rows)]
        with serving_progress(ANSWERING, reading):
            await asyncio.gather(*(player.begin() for player in players))
            well = [player for player in players if not player.row.first]
            await asyncio.gather(*(player.show(healthy(player.kind, player.stage, "z")) for player in well))
            await until_printed(server, {player: says_when_well(player.kind) for player in well})
            await asyncio.gather(*(player.show(player.row.seen(player.stage)) for player in players))
            tables = await until_printed(server, {player: expected(player.kind, player.row.says) for player in players})
            better = [label(player) for player in players if is_better_than(row_of(tables, player), player.kind, seen(player))]
            assert not better, "printed better than the world is"
            described = await describe(server)
            silent = [(label(player), word) for player in players for word in player.row.words if word not in described[player.namespace]]
            assert not silent, "not told by kubectl describe"
            await check_quiet(server)
            # What is said follows from what is there, and not from what was seen on the way.
            operator.kill()
            operator.start()
            await until_printed(server, {player: expected(player.kind, player.row.says) for player in players})
            await asyncio.gather(*(player.show(healthy(player.kind, player.stage, "y")) for player in players if not player.row.ends))
            back = {player: expected(player.kind, player.row.says) if player.row.ends else says_when_well(player.kind) for player in players}
            await until_printed(server, back)
        await asyncio.gather(*(player.end() for player in players))
    record_property("rows", len(players))
    record_property("seconds", round(time.monotonic() - began))


async def check_quiet(server):
    """Check that the operator, once it has said all, writes nothing more and does not ask again and again."""
    before = len(list(server.audited()))
    await asyncio.sleep(QUIET)
    since = [each for each in list(server.audited())[before:] if each["verb"] != "watch" and "namespace" in each.get("objectRef", {})]
    assert [(each["verb"], each["objectRef"]) for each in since if each["verb"] in WRITES] == []
    often = {namespace: count for namespace, count in Counter(each["objectRef"]["namespace"] for each in since).items() if count > 3}
    assert not often, "asked more than is of use"


def label(player):
    return f"{player.kind}: {player.row.name} ({player.namespace})"


def seen(player):
    return player.row.seen(player.stage)


def row_of(tables, player):
    return tables[player.namespace, "bot"]


async def until_printed(server, wanted):
    """Ask kubectl until it prints what is wanted of each row; return its rows."""
    deadline = time.monotonic() + PATIENCE
    while True:
        tables = await tables_of(server)
        wrong = [
            f"{label(player)}: {name} is {row_of(tables, player).get(name)!r}, not {value!r}; reason {row_of(tables, player).get('REASON')}"
            for player, says in wanted.items()
            for name, value in says.items()
            if row_of(tables, player).get(name) != value
        ]
        if not wrong:
            return tables
        assert time.monotonic() < deadline, "\n".join(wrong)
        await asyncio.sleep(1)


async def tables_of(server):
    """Return the rows of `kubectl get` of all kinds and namespaces."""
    printed = await asyncio.gather(*(asyncio.to_thread(server.kubectl, "get", plural, "-A") for plural in PLURALS.values()))
    return {key: row for each in printed for key, row in read_table(each.stdout).items()}


async def describe(server):
    """Return what `kubectl describe` says, by namespace."""
    printed = await asyncio.gather(*(asyncio.to_thread(server.kubectl, "describe", plural, "-A") for plural in PLURALS.values()))
    blocks = [block for each in printed for block in re.split(r"\n(?=Name: )", "\n" + each.stdout) if block.strip()]
    return {re.search(r"^Namespace: +(\S+)$", block, re.MULTILINE).group(1): block for block in blocks}
