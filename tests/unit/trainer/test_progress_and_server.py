"""The board, and what is served of it."""

import json
import urllib.error
import urllib.request

import pytest
from pydantic import ValidationError

from tunewright.contract.progress import Progress
from tunewright_trainer.environment import defaults
from tunewright_trainer.progress import ProgressBoard, eta, share
from tunewright_trainer.server import start_server


def test_percent_never_goes_back_and_stays_below_100_until_done():
    board = ProgressBoard("train", clock=lambda: "now")
    board.update(percent=40)
    board.phase("Evaluating", 10)
    assert board.reading().percent == 40
    board.update(percent=130)
    assert board.reading().percent == 99
    board.done()
    assert (board.reading().percent, board.reading().phase, board.reading().eta_seconds) == (100, "Done", 0)


def test_values_stay_until_replaced():
    board = ProgressBoard("train", clock=lambda: "now")
    board.update(loss=1.5, step=3)
    board.update(step=4)
    assert board.reading() == Progress(verb="train", phase="Starting", percent=0, loss=1.5, step=4, updated_time="now")


def test_unknown_fields_are_refused():
    with pytest.raises(ValidationError):
        ProgressBoard("train").update(los=1.0)


def test_share_and_eta():
    assert [share(done, 10, 2, 97) for done in (0, 5, 10, 20)] == [2, 49, 97, 97]
    assert share(1, 0, 5, 10) == 5
    assert eta(0, 10, 5.0) is None
    assert eta(2, 10, 5.0) == 20
    assert eta(10, 10, 5.0) == 0


@pytest.fixture
def server():
    board = ProgressBoard("train", clock=lambda: "2026-01-02T03:04:05Z")
    server = start_server(board, 0)
    yield board, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def get(url):
    with urllib.request.urlopen(url, timeout=5) as response:
        return response.read().decode()


def test_served(server):
    board, url = server
    board.update(phase="Training", percent=12, step=3, total_steps=25, loss=0.5, tokens_per_second=10.0)
    assert json.loads(get(f"{url}/progress")) == {
        "verb": "train", "phase": "Training", "percent": 12, "step": 3, "totalSteps": 25, "loss": 0.5, "tokensPerSecond": 10.0,
        "updatedTime": "2026-01-02T03:04:05Z",
    }  # fmt: skip
    metrics = get(f"{url}/metrics")
    assert 'tunewright_loss{phase="Training",verb="train"} 0.5' in metrics
    assert "tunewright_eval_loss" not in metrics
    assert get(f"{url}/healthz") == "ok\n"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{url}/etc/passwd")


def test_a_restricted_pod_gets_places_to_write(tmp_path):
    added = defaults({"HOME": "/"}, False, tmp_path)
    assert added["HOME"] == str(tmp_path)
    assert added["HF_HOME"] == str(tmp_path / "hf")
    assert {"USER", "LOGNAME", "TORCHINDUCTOR_CACHE_DIR"} <= set(added)


def test_what_the_user_set_stays(tmp_path):
    added = defaults({"HOME": "/", "HF_HOME": "/cache", "USER": "me"}, False, tmp_path)
    assert not {"HF_HOME", "USER"} & set(added)
    assert "HF_HOME" not in defaults({"HOME": "/home/me"}, True, tmp_path)
    assert "HOME" not in defaults({"HOME": "/home/me"}, True, tmp_path)
