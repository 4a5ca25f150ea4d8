"""A canary planted as every secret: only known keys become variables, and the value is in no output, no result and no file."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.weight_files import weights
from tunewright.contract.run_result import RunResult
from tunewright.contract.secrets import SECRET_PREFIX, SECRET_VARIABLES
from tunewright_trainer.environment import adopt_secrets
from tunewright_trainer.redact import HIDDEN, RedactingStream, Redactor, secret_values

ROOT = Path(__file__).parents[3]
CANARY = "hf_canary/8kQ+z=Xw"
OWNER = {"kind": "InferenceService", "namespace": "team", "name": "bot", "uid": "u-1"}


def test_known_keys_get_their_own_names():
    environ = {"PATH": "/bin", **{SECRET_PREFIX + key: "value" for key in SECRET_VARIABLES}}
    assert adopt_secrets(environ) == []
    assert {key: environ[key] for key in SECRET_VARIABLES} == dict.fromkeys(SECRET_VARIABLES, "value")
    assert not any(name.startswith(SECRET_PREFIX) for name in environ)


@pytest.mark.parametrize(
    "key",
    [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "PATH",
        "HOME",
        "TUNEWRIGHT_RUN_SPEC",
        "TUNEWRIGHT_ALLOWED_ADDRESSES",
        "HTTPS_PROXY",
        "hf_token",
    ],
)
def test_other_keys_are_nothing(key):
    environ = {SECRET_PREFIX + key: "evil"}
    assert adopt_secrets(environ) == [key]
    assert environ == {}


def test_what_the_chart_set_is_not_replaced():
    environ = {"HF_ENDPOINT": "http://mirror", SECRET_PREFIX + "HF_ENDPOINT": "http://evil"}
    assert adopt_secrets(environ) == ["HF_ENDPOINT"]
    assert environ == {"HF_ENDPOINT": "http://mirror"}


def test_a_hub_of_the_user_is_read_by_the_client_whose_connections_are_checked():
    environ = {SECRET_PREFIX + "HF_ENDPOINT": "http://hub"}
    adopt_secrets(environ)
    assert environ == {"HF_ENDPOINT": "http://hub", "HF_HUB_DISABLE_XET": "1"}


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "WANDB_API_KEY", "DB_PASSWORD", "my_secret", SECRET_PREFIX + "ANYTHING",
        SECRET_PREFIX + "HF_TOKEN", "GITHUB_TOKENS", "AZURE_CREDENTIALS",
    ],
)  # fmt: skip
def test_secrets_are_known_by_their_names(name):
    assert secret_values({name: CANARY}) == {CANARY}


@pytest.mark.parametrize(
    ("name", "value"),
    [("TOKENIZERS_PARALLELISM", "falsehood"), ("AWS_ENDPOINT_URL", "http://minio:9000"), ("HOME", "/tmp/home"), ("HF_TOKEN", "abc"), ("KEYBOARD", "qwertz")],
)
def test_other_values_are_not_hidden(name, value):
    assert secret_values({name: value}) == frozenset()
    assert secret_values({SECRET_PREFIX + "AWS_REGION": "eu-central-1"}) == frozenset()


def test_passwords_in_urls_are_secrets():
    assert secret_values({"HTTPS_PROXY": "http://user:hunter22@proxy:3128", "OTHER": "https://no.password/x"}) == {"hunter22"}


def test_every_form_is_hidden():
    redact = Redactor(secret_values({"HF_TOKEN": CANARY, "DB_PASSWORD": 'quote"and\nnewline-in-it'}))
    text = f"{CANARY} token={CANARY.replace('/', '%2F').replace('+', '%2B').replace('=', '%3D')} " + json.dumps({"a": 'quote"and\nnewline-in-it'})
    assert redact.text(text) == f'{HIDDEN} token={HIDDEN} {{"a": "{HIDDEN}"}}'
    assert redact.text("second line: newline-in-it") == f"second line: {HIDDEN}"
    assert Redactor(frozenset()).text("as it is") == "as it is"


def test_a_longer_secret_is_hidden_before_one_that_is_its_beginning():
    assert Redactor(frozenset({"secret", "secret-longer"})).text("secret-longer secret") == f"{HIDDEN} {HIDDEN}"


def test_a_secret_written_in_parts_is_hidden():
    below = io.StringIO()
    stream = RedactingStream(below, Redactor(frozenset({CANARY})))
    for part in ("before ", CANARY[:7], CANARY[7:], " after", "\n", "rest"):
        assert stream.write(part) == len(part)
    assert below.getvalue() == f"before {HIDDEN} after\n"
    stream.flush()
    assert below.getvalue().endswith("\nrest")
    assert stream.encoding == below.encoding


def run(tmp_path, spec, **environ):
    """Run the container's process with the canary under every key, and return its result and all it printed."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "AWS_"))},
        "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'trainer-image'}", "TUNEWRIGHT_TERMINATION_LOG": str(tmp_path / "result"), "TUNEWRIGHT_PROGRESS_PORT": "0",
        "TUNEWRIGHT_SCRATCH": str(tmp_path / "scratch"), "TUNEWRIGHT_RUN_SPEC": json.dumps(spec),
        **{SECRET_PREFIX + key: CANARY for key in SECRET_VARIABLES if "ENDPOINT" not in key}, SECRET_PREFIX + "LD_PRELOAD": CANARY, **environ,
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "tunewright_trainer"], env=environ, capture_output=True, text=True, timeout=60, check=False)
    return RunResult.model_validate_json((tmp_path / "result").read_text()), done.stdout + done.stderr


def fetch(tmp_path, **model):
    return {"verb": "fetch", "owner": OWNER, "model": model, "outputDir": str(tmp_path / "out")}


def nothing_leaked(tmp_path, result, output):
    assert CANARY not in output
    assert CANARY not in result.to_json()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path


def test_an_expected_error_that_quotes_the_token(tmp_path):
    result, output = run(tmp_path, fetch(tmp_path, uri="pvc://m/model", path=f"/absent/{CANARY}"))
    assert (result.reason, HIDDEN in result.message, HIDDEN in output) == ("ModelNotFound", True, True)
    nothing_leaked(tmp_path, result, output)
    assert "keys of Secrets that are not used: LD_PRELOAD" in output


def test_a_traceback_that_quotes_the_token(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "model.safetensors").write_bytes(weights(1.0))
    (tmp_path / "file").write_text("")
    spec = fetch(tmp_path, uri="pvc://m/model", path=str(tmp_path / "model"))
    spec["outputDir"] = str(tmp_path / "file" / CANARY)
    result, output = run(tmp_path, spec)
    assert (result.reason, HIDDEN in result.message) == ("InternalError", True)
    assert "Traceback" in output
    assert output.count(HIDDEN) >= 2
    nothing_leaked(tmp_path, result, output)


ECHO = """
import http.server, sys
class Echo(http.server.BaseHTTPRequestHandler):
    def answer(self):
        token = self.headers.get("Authorization", "none")
        body = ("you sent " + token).encode()
        self.send_response(int(sys.argv[1]))
        self.send_header("X-Error-Message", "bad request with " + token)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
    do_GET = do_HEAD = do_POST = do_PUT = answer
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.mark.parametrize("status", [400, 418])
@pytest.mark.parametrize(
    ("uri", "variable", "module"), [("hf://org/model", "HF_ENDPOINT", "huggingface_hub"), ("s3://bucket/model", "AWS_ENDPOINT_URL", "boto3")]
)
def test_a_server_that_answers_with_the_token(tmp_path, uri, variable, module, status):
    """The real clients put what the server says into their errors."""
    pytest.importorskip(module)
    server = subprocess.Popen([sys.executable, "-c", ECHO, str(status)], stdout=subprocess.PIPE, text=True)
    try:
        port = server.stdout.readline().strip()
        more = {variable: f"http://127.0.0.1:{port}", "TUNEWRIGHT_ALLOWED_ADDRESSES": "127.0.0.1/32", SECRET_PREFIX + "AWS_REGION": "us-east-1"}
        result, output = run(tmp_path, fetch(tmp_path, uri=uri), **more)
    finally:
        server.kill()
        server.wait()
    assert result.outcome == "Failed"
    if module == "huggingface_hub":
        assert HIDDEN in output, "the client quotes the answer: without redaction the token would be here"
    nothing_leaked(tmp_path, result, output)
