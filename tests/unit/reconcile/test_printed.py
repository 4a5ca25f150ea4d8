"""Figures as kubectl get prints them, at their boundaries."""

import pytest

from tunewright.reconcile.printed import duration, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h0m"), (172799, "47h59m"), (172800, "2d0h"), (180000, "2d2h")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1.0Ki"),
        (10 * 1024, "10Ki"),
        (272585010, "260Mi"),
        (9_900_000, "9.4Mi"),
        (15 * 2**30, "15Gi"),
        (3000 * 2**40, "3000Ti"),
    ],
)
def test_size(size_bytes, text):
    assert size(size_bytes) == text
