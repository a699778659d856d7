"""`shitu up --workers`: a number or a range, and what is said of anything else."""

from __future__ import annotations

import click
import pytest

from shitu.cli.worker_bounds import Bounds


@pytest.mark.parametrize(("text", "bounds"), [("1", (1, 1)), ("3", (3, 3)), ("0..4", (0, 4)), ("2..2", (2, 2))])
def test_what_is_taken(text: str, bounds: tuple[int, int]) -> None:
    assert Bounds().convert(text, None, None) == bounds


@pytest.mark.parametrize(
    ("text", "report"),
    [
        ("0", "without a worker"),
        ("0..0", "without a worker"),
        ("4..1", "the fewest workers come first"),
        ("two", "neither"),
        ("1..", "neither"),
        ("-1", "neither"),
        ("1.5", "neither"),
        ("99999", "neither"),
    ],
)
def test_what_is_refused(text: str, report: str) -> None:
    with pytest.raises(click.BadParameter, match=report):
        Bounds().convert(text, None, None)
