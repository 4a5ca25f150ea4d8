"""At least 1,000 operations a kind, generated from the CRD schemas, against a real API server and the operator's own process: no alarm that is not explained."""

import os
import time
from collections import Counter

import pytest

from support.api_server import ADMIN, TOKENS, ApiServer, Operator
from support.async_api import AsyncApi
from support.campaign.driver import Campaign
from support.campaign.explained import in_vain, unexplained
from support.campaign.mirror import AUDITED, Mirror
from support.campaign.oracles import ORACLES
from support.campaign.plan import lanes
from support.campaign.settle import Settling

KINDS = ("FineTuneJob", "ModelMerge", "Evaluation", "InferenceService")
SEED = int(os.environ.get("SEED") or 20261124)
OPERATIONS = int(os.environ.get("OPERATIONS") or 1000)
_DEFAULTS = {"cpu": "511m", "memory": "2111Mi", "memory_limit": "8111Mi"}
SETTINGS = {
    "trainer_image": "registry.invalid/trainer:1", "server_image": "registry.invalid/server:1", "server_device": "GPU",
    "cpu_stage": _DEFAULTS, "train_stage": _DEFAULTS, "server": _DEFAULTS,
}  # fmt: skip
"""On a GPU cluster every field means something; with defaults that no change asks for, so does every value."""


@pytest.fixture(scope="module")
async def campaign(tmp_path_factory):
    """A campaign that has run, on a server of its own: its audit log is long, and whom it was that wrote must be told by namespace."""
    with ApiServer.running(tmp_path_factory.mktemp("campaign"), AUDITED) as server:
        operator = Operator(server, SETTINGS)
        try:
            operator.start()
            async with AsyncApi.connected(server.port, TOKENS[ADMIN], watches=8) as api, Mirror().following(api) as mirror:
                settling = Settling(mirror, server, operator)
                made = Campaign(api, mirror, operator, settling)
                started = time.monotonic()
                await made.run(lane for kind in KINDS for lane in lanes(kind, SEED, OPERATIONS))
                made.seconds = time.monotonic() - started
                made.failed_passes = (settling.failed_passes, settling.reported_failures())
            yield made
        finally:
            operator.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_no_alarm_is_unexplained(campaign, kind, record_property):
    figures = campaign.figures[kind]
    alarms = [each for each in campaign.alarms if each.kind == kind]
    by_oracle = Counter(each.oracle for each in alarms)
    found = unexplained(alarms)
    record_property("operations", figures.operations)
    record_property("accepted", figures.accepted)
    record_property("refused", figures.refused)
    record_property("seconds", round(campaign.seconds, 1))
    record_property("alarms_unexplained", len(found))
    for oracle in ORACLES:
        record_property(f"judged_{oracle}", campaign.judged[kind, oracle])
        record_property(f"alarms_{oracle}", by_oracle[oracle])
    told = ", ".join(f"{oracle} {by_oracle[oracle]}/{campaign.judged[kind, oracle]}" for oracle in ORACLES)
    print(
        f"\n{kind}: {figures.operations} operations, {figures.accepted} accepted, {figures.refused} refused; alarms of judgements: {told}; unexplained {len(found)}"
    )
    assert not found, "\n".join(map(str, found[:200]))
    assert figures.operations >= min(OPERATIONS, 1000)
    assert all(campaign.judged[kind, oracle] for oracle in ORACLES), "every oracle was asked"


def test_nothing_is_explained_in_vain(campaign):
    if os.environ.get("SEED") or os.environ.get("OPERATIONS"):
        pytest.skip("another choice of changes may not meet all that is known")
    assert in_vain(campaign.alarms) == []


def test_every_failed_pass_was_heard_of(campaign):
    """What the operator counts as failed is what its log complained of: no error went by the oracles."""
    logged, counted = campaign.failed_passes
    assert logged == counted
