"""Artifacts: published at once, verified, never mixed up."""

import json

import pytest

from tunewright.contract.manifest import MANIFEST_NAME
from tunewright.contract.run_spec import Owner
from tunewright_trainer import artifacts
from tunewright_trainer.artifacts import INPUTS_KEY, Provenance, find_published, publish, staging, verify
from tunewright_trainer.errors import RunError

OWNER = Owner(kind="FineTuneJob", namespace="team", name="bot", uid="u-1")
OTHER = Owner(kind="FineTuneJob", namespace="team", name="other", uid="u-2")


def made(final, owner=OWNER, inputs="i1", content="weights"):
    with staging(final) as directory:
        (directory / "a.txt").write_text(content)
        (directory / "sub").mkdir()
        (directory / "sub" / "b.txt").write_text("b")
        (directory / "a.txt").chmod(0o600)
        return publish(directory, final, Provenance("Dataset", owner, {INPUTS_KEY: inputs}))


def reason(caught):
    return caught.value.reason


def test_published_and_verified(tmp_path):
    reference = made(tmp_path / "out" / "data")
    manifest = verify(tmp_path / "out" / "data", reference.digest)
    assert [entry.path for entry in manifest.files] == ["a.txt", "sub/b.txt"]
    assert reference.size_bytes == 8
    assert reference.path == str(tmp_path / "out" / "data")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["data"]
    assert (tmp_path / "out" / "data" / "a.txt").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda final: (final / "a.txt").write_text("weightS"), "a.txt differs"),
        (lambda final: (final / "a.txt").write_text("w"), "a.txt has 1 bytes"),
        (lambda final: (final / "sub" / "b.txt").unlink(), "b.txt is missing"),
        (lambda final: (final / MANIFEST_NAME).unlink(), MANIFEST_NAME),
        (lambda final: (final / MANIFEST_NAME).write_text("{"), MANIFEST_NAME),
    ],
)
def test_damage_is_named(tmp_path, damage, named):
    final = tmp_path / "data"
    made(final)
    damage(final)
    with pytest.raises(RunError, match=named) as caught:
        verify(final)
    assert reason(caught) == "DigestMismatch"


def test_another_digest_is_refused(tmp_path):
    made(tmp_path / "data")
    with pytest.raises(RunError, match="replaced") as caught:
        verify(tmp_path / "data", "sha256:0")
    assert reason(caught) == "DigestMismatch"


def test_manifest_never_reads_outside(tmp_path):
    made(tmp_path / "data")
    path = tmp_path / "data" / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    manifest["files"][0]["path"] = "../secret"
    path.write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="outside"):
        verify(tmp_path / "data")


def test_published_is_found_again(tmp_path):
    final = tmp_path / "data"
    assert find_published(final, OWNER, "i1") is None
    reference = made(final)
    found = find_published(final, OWNER, "i1")
    assert found is not None
    assert found.digest() == reference.digest
    assert find_published(final, OWNER, "i2") is None
    (final / "a.txt").write_text("damaged")
    assert find_published(final, OWNER, "i1") is None


def test_other_inputs_replace(tmp_path):
    first = made(tmp_path / "data")
    second = made(tmp_path / "data", inputs="i2", content="new")
    assert second.digest != first.digest
    verify(tmp_path / "data", second.digest)


def test_nobody_elses_directory_is_taken(tmp_path):
    made(tmp_path / "data", owner=OTHER)
    with pytest.raises(RunError, match="team/other") as caught:
        find_published(tmp_path / "data", OWNER, "i1")
    assert reason(caught) == "BadConfiguration"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="not empty"):
        find_published(tmp_path / "mine", OWNER, "i1")


def test_empty_volume_is_free(tmp_path):
    (tmp_path / "lost+found").mkdir()
    assert find_published(tmp_path, OWNER, "i1") is None


def test_failed_attempt_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="disk"), staging(tmp_path / "data") as directory:
        (directory / "half").write_text("x")
        raise OSError("disk")
    assert list(tmp_path.rglob("half")) == []
    with staging(tmp_path / "data") as directory:
        (directory / "killed").write_text("left by a kill")
        directory.rename(tmp_path / "saved")
    (tmp_path / "saved").rename(tmp_path / ".data.partial")
    with staging(tmp_path / "data") as directory:
        assert list(directory.iterdir()) == []


def test_mount_point(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "_is_mount", lambda path: path == tmp_path)
    (tmp_path / "lost+found").mkdir()
    made(tmp_path)
    reference = made(tmp_path, inputs="i2", content="new")
    verify(tmp_path, reference.digest)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "lost+found", "sub", MANIFEST_NAME]
