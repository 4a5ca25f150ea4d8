"""URIs: what is a location and what is not, and that parsing never leaves the root."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright.contract.uris import URI_PATTERN, Location, Scheme, parse_uri


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("hf://org/name", Location(Scheme.HF, "org/name")),
        ("hf://org/name@v1.0", Location(Scheme.HF, "org/name", revision="v1.0")),
        ("hf://org/name@refs/pr/3", Location(Scheme.HF, "org/name", revision="refs/pr/3")),
        ("hf://datasets/org/name@main#data/train.jsonl", Location(Scheme.HF, "org/name", "data/train.jsonl", "main", True)),
        ("hf://org/name#a.jsonl", Location(Scheme.HF, "org/name", "a.jsonl")),
        ("s3://bucket", Location(Scheme.S3, "bucket")),
        ("s3://my.bucket-1/a/b=c/", Location(Scheme.S3, "my.bucket-1", "a/b=c")),
        ("pvc://claim", Location(Scheme.PVC, "claim")),
        ("pvc://claim/a/b.jsonl", Location(Scheme.PVC, "claim", "a/b.jsonl")),
        ("configmap://data/rows.jsonl", Location(Scheme.CONFIGMAP, "data", "rows.jsonl")),
    ],
)
def test_locations(uri, location):
    assert parse_uri(uri) == location


@pytest.mark.parametrize(
    "uri",
    [
        "", "hf://", "hf://name", "hf://org/", "hf://-org/name", "file:///etc/passwd", "http://example.com/x", "s3://B/x", "s3://a/x",
        "pvc://", "pvc://Claim/x", "pvc://-claim", "pvc://claim/a b", "configmap://name", "configmap://name/a/b", "/volumes/x", "HF://org/name",
        "pvc://claim/x;rm", "pvc://claim/$(id)", "s3://bucket/x?y",
    ],
)  # fmt: skip
def test_what_is_not_a_location_is_told_the_forms(uri):
    with pytest.raises(ValueError, match="hf://org/name@revision"):
        parse_uri(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "pvc://claim/..",
        "pvc://claim/../x",
        "pvc://claim/a/../../x",
        "s3://bucket/a/..",
        "configmap://name/..",
        "hf://org/name#a/../b",
        "hf://org/name#../b",
        "hf://org/name@../b",
        "hf://org/name@..#b",
    ],
)
def test_a_path_never_leaves_its_root(uri):
    with pytest.raises(ValueError, match=re.escape("`..`")):
        parse_uri(uri)


@given(st.from_regex(URI_PATTERN, fullmatch=True))
def test_every_match_of_the_pattern_parses_to_a_part_of_itself_or_has_dots(uri):
    try:
        found = parse_uri(uri)
    except ValueError as error:
        assert ".." in uri and "`..`" in str(error)
        return
    assert found.root in uri
    assert ".." not in found.path.split("/")
    assert not found.path.startswith("/") or found.scheme == Scheme.HF


@given(st.text(max_size=60))
def test_no_text_does_anything_but_parse_or_raise_value_error(text):
    with contextlib.suppress(ValueError):
        parse_uri(text)


def test_the_pattern_ends_where_the_text_ends():
    """Python's `$` also matches before a final newline; RE2's does not."""
    with pytest.raises(ValueError, match="is not a location"):
        parse_uri("pvc://claim/x\n")
