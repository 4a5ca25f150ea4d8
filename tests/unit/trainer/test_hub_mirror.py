"""The mirror: its replies, and the real client against it."""

import json
import threading

import pytest

from tunewright.contract.run_spec import Source
from tunewright.contract.uris import parse_uri
from tunewright_trainer import hub
from tunewright_trainer.errors import RunError
from tunewright_trainer.hub_mirror import find_repository, make_server, reply_to
from tunewright_trainer.locate import pin, resolve_tokenizer

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def root(tmp_path):
    model = tmp_path / "hub" / "acme" / "tiny"
    model.mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / "tokenizer.json").write_text("{}")
    (model / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    (model / ".cache").mkdir()
    (model / ".cache" / "hidden").write_text("x")
    unsafe = tmp_path / "hub" / "acme" / "unsafe"
    unsafe.mkdir()
    (unsafe / "config.json").write_text("{}")
    (unsafe / "modeling_x.py").write_text("raise SystemExit")
    data = tmp_path / "hub" / "datasets" / "acme" / "rows"
    data.mkdir(parents=True)
    (data / "train.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "secret").write_text("x")
    return tmp_path / "hub"


def body(reply):
    return json.loads(reply.body)


def test_info(root):
    info = body(reply_to(root, "/api/models/acme/tiny/revision/main?blobs=True"))
    assert [(sibling["rfilename"], sibling["size"]) for sibling in info["siblings"]] == [
        ("config.json", 23),
        ("model.safetensors", 10240),
        ("tokenizer.json", 2),
    ]
    assert len(info["sha"]) == 40
    assert body(reply_to(root, "/api/models/acme/tiny"))["sha"] == info["sha"]
    assert body(reply_to(root, f"/api/models/acme/tiny/revision/{SHA}"))["sha"] == SHA
    (root / "acme" / "tiny" / "config.json").write_text('{"model_type": "other"}')
    assert body(reply_to(root, "/api/models/acme/tiny"))["sha"] != info["sha"]


def test_tree(root):
    assert [entry["path"] for entry in body(reply_to(root, "/api/models/acme/tiny/tree/main?recursive=True"))] == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]


@pytest.mark.parametrize(
    ("span", "status", "part", "content_range"),
    [
        (None, 200, (0, 10240), None),
        ("bytes=0-9", 206, (0, 10), "bytes 0-9/10240"),
        ("bytes=10000-", 206, (10000, 240), "bytes 10000-10239/10240"),
        ("bytes=10000-99999", 206, (10000, 240), "bytes 10000-10239/10240"),
        ("bytes=10240-", 416, None, "bytes */10240"),
    ],
)
def test_ranges(root, span, status, part, content_range):
    reply = reply_to(root, f"/acme/tiny/resolve/{SHA}/model.safetensors", span)
    assert reply.status == status
    assert reply.headers["X-Repo-Commit"] == SHA
    assert reply.headers.get("Content-Range") == content_range
    assert (reply.file[1:] if reply.file else None) == part


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/models/acme/absent", "RepoNotFound"),
        ("/acme/absent/resolve/main/config.json", "RepoNotFound"),
        ("/acme/tiny/resolve/main/absent.json", "EntryNotFound"),
        ("/acme/tiny/resolve/main/../../../secret", "EntryNotFound"),
        ("/acme/tiny/resolve/main/%2e%2e/%2e%2e/%2e%2e/secret", "EntryNotFound"),
        ("/acme/tiny/resolve/main/.cache/hidden", "EntryNotFound"),
        ("/../secret", None),
        ("/", None),
    ],
)
def test_missing(root, path, code):
    reply = reply_to(root, path)
    assert (reply.status, reply.headers.get("X-Error-Code")) == (404, code)


@pytest.fixture
def client(root, monkeypatch):
    """The real client, pointed to a mirror on a free port."""
    constants = pytest.importorskip("huggingface_hub.constants")
    server = make_server(root, "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("TUNEWRIGHT_ALLOWED_ADDRESSES", "127.0.0.1/32")
    # The client reads HF_ENDPOINT when it is imported, which another test may have done.
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    yield url
    server.shutdown()
    server.server_close()


def test_the_real_client_downloads_a_model(client, root, tmp_path):
    seen = []
    uri = "hf://acme/tiny@v1.0"
    target = hub.download_hub_model(uri, parse_uri(uri), tmp_path / "target", True, lambda done, total: seen.append((done, total)))
    assert sorted(path.name for path in target.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (target / "model.safetensors").read_bytes() == (root / "acme" / "tiny" / "model.safetensors").read_bytes()
    assert not any(path.is_symlink() for path in target.iterdir())
    assert seen[-1] == (10265, 10265)


def test_a_branch_is_pinned_to_its_commit(client, root):
    commit = find_repository(root, "models", "acme/tiny").commit("main")
    pinned = pin(Source(uri="hf://acme/tiny@main"))
    assert pinned.uri == f"hf://acme/tiny@{commit}"
    assert pin(pinned) == pinned
    mounted = Source(uri="pvc://models/tiny", path="/volumes/models/tiny")
    assert pin(mounted) == mounted


def test_a_downloaded_tokenizer_is_checked_before_it_is_read(client, root, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNEWRIGHT_SCRATCH", str(tmp_path / "scratch"))
    source = Source(uri="hf://acme/tiny")
    assert (resolve_tokenizer(source) / "tokenizer.json").is_file()
    (root / "acme" / "tiny" / "config.json").write_text('{"text_config": {"auto_map": {"AutoModel": "x.Y"}}}')
    with pytest.raises(RunError, match=r"config\.json has `auto_map`"):
        resolve_tokenizer(source)


def test_the_real_client_downloads_data(client, tmp_path):
    for uri, name in (("hf://datasets/acme/rows#train.jsonl", "train.jsonl"), ("hf://datasets/acme/rows", "")):
        path = hub.download_hub_dataset(uri, parse_uri(uri), tmp_path / f"d{name}")
        assert (path if name else path / "train.jsonl").read_text().startswith('{"prompt"')


@pytest.mark.parametrize(
    ("uri", "reason"),
    [("hf://acme/absent", "ModelNotFound"), ("hf://acme/unsafe", "UnsafeModel")],
)
def test_models_that_cannot_be_had(client, tmp_path, uri, reason):
    with pytest.raises(RunError) as caught:
        hub.download_hub_model(uri, parse_uri(uri), tmp_path / "target", True, lambda done, total: None)
    assert caught.value.reason == reason
    assert reason == "UnsafeModel" or uri in str(caught.value)


@pytest.mark.parametrize("uri", ["hf://datasets/acme/absent", "hf://datasets/acme/rows#absent.jsonl"])
def test_data_that_cannot_be_had(client, tmp_path, uri):
    with pytest.raises(RunError, match="absent") as caught:
        hub.download_hub_dataset(uri, parse_uri(uri), tmp_path / "target")
    assert caught.value.reason == "DatasetNotFound"


@pytest.mark.parametrize("status", [401, 403])
def test_denied(client, tmp_path, monkeypatch, status):
    from tunewright_trainer import hub_mirror

    monkeypatch.setattr(hub_mirror, "reply_to", lambda *args: hub_mirror.Reply(status, {}, b"{}"))
    with pytest.raises(RunError, match=f"HTTP {status}") as caught:
        hub.download_hub_model("hf://acme/tiny", parse_uri("hf://acme/tiny"), tmp_path / "target", True, lambda done, total: None)
    assert caught.value.reason == "Denied"
