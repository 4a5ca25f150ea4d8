"""S3 downloads against a client that keeps its objects in a dictionary."""

from pathlib import Path

import pytest

from tunewright.contract.uris import parse_uri
from tunewright_trainer import s3
from tunewright_trainer.errors import RunError

exceptions = pytest.importorskip("botocore.exceptions")


class Bucket:
    """The calls of boto3's client that are used."""

    def __init__(self, error=None, **objects):
        self._objects = objects
        self._error = error

    def get_paginator(self, name):
        assert name == "list_objects_v2"
        return self

    def paginate(self, Bucket, Prefix):
        if self._error is not None:
            raise self._error
        keys = [key for key in self._objects if key.startswith(Prefix)]
        return [{"Contents": [{"Key": key, "Size": len(self._objects[key])}]} for key in keys] or [{}]

    def download_file(self, bucket, key, path, Callback=None):
        if self._error is not None:
            raise self._error
        Path(path).write_bytes(self._objects[key])
        if Callback is not None:
            Callback(len(self._objects[key]))


def bucket(monkeypatch, error=None, **objects):
    monkeypatch.setattr(s3, "_client", lambda: Bucket(error, **objects))


def fetch_model(uri, target):
    seen = []
    return s3.download_s3_model(uri, parse_uri(uri), target, True, lambda done, total: seen.append((done, total))), seen


def test_model_below_a_prefix(monkeypatch, tmp_path):
    bucket(monkeypatch, **{"m/config.json": b"{}", "m/model.safetensors": b"xyz", "m/pytorch_model.bin": b"p", "m/": b"", "other/config.json": b"{}"})
    target, seen = fetch_model("s3://team-models/m", tmp_path / "t")
    assert sorted(path.name for path in target.iterdir()) == ["config.json", "model.safetensors"]
    assert seen[-1] == (5, 5)


def test_an_artifact_comes_whole(monkeypatch, tmp_path):
    bucket(monkeypatch, **{"m/config.json": b"{}", "m/model.safetensors": b"xyz", "m/tunewright.json": b"{}", "m/training.log": b"x"})
    assert (fetch_model("s3://team-models/m", tmp_path / "t")[0] / "training.log").exists()


def test_data(monkeypatch, tmp_path):
    bucket(monkeypatch, **{"d/a.jsonl": b"{}", "d/b.jsonl": b"{}", "d/readme.md": b"x"})
    assert s3.download_s3_dataset("s3://team-data/d/a.jsonl", parse_uri("s3://team-data/d/a.jsonl"), tmp_path / "t1").name == "a.jsonl"
    target = s3.download_s3_dataset("s3://team-data/d", parse_uri("s3://team-data/d"), tmp_path / "t2")
    assert sorted(path.name for path in target.iterdir()) == ["a.jsonl", "b.jsonl"]


def client_error(code):
    return exceptions.ClientError({"Error": {"Code": code, "Message": "no"}}, "ListObjectsV2")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (client_error("AccessDenied"), "Denied"),
        (client_error("403"), "Denied"),
        (client_error("SignatureDoesNotMatch"), "Denied"),
        (exceptions.NoCredentialsError(), "Denied"),
        (client_error("NoSuchBucket"), "ModelNotFound"),
        (client_error("404"), "ModelNotFound"),
    ],
)
def test_errors_name_the_uri(monkeypatch, tmp_path, error, reason):
    bucket(monkeypatch, error)
    with pytest.raises(RunError, match="s3://team-models/m") as caught:
        fetch_model("s3://team-models/m", tmp_path / "t")
    assert caught.value.reason == reason


def test_what_may_pass_by_itself_is_not_a_verdict(monkeypatch, tmp_path):
    bucket(monkeypatch, client_error("SlowDown"))
    with pytest.raises(exceptions.ClientError):
        fetch_model("s3://team-models/m", tmp_path / "t")


@pytest.mark.parametrize(
    ("objects", "reason"), [({}, "ModelNotFound"), ({"m/../x": b"x"}, "UnsafeModel"), ({"m/code.py": b"x", "m/model.safetensors": b"x"}, "UnsafeModel")]
)
def test_refused(monkeypatch, tmp_path, objects, reason):
    bucket(monkeypatch, **objects)
    with pytest.raises(RunError) as caught:
        fetch_model("s3://team-models/m", tmp_path / "t")
    assert caught.value.reason == reason
