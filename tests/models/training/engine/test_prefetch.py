"""Things are made in order, a few ahead; an error comes where its thing would have been used."""

import threading
from contextlib import closing

import pytest

from models.training.engine.prefetch import AHEAD, prefetch


def test_everything_comes_in_order_whatever_the_threads() -> None:
    for threads in (1, 4):
        assert list(prefetch(lambda number: number * number, range(3, 40), threads)) == [n * n for n in range(3, 40)]
    assert list(prefetch(str, range(0), 2)) == []


def test_only_a_few_are_made_before_they_are_used() -> None:
    made: list[int] = []
    with closing(prefetch(lambda number: made.append(number) or number, range(100), 1)) as source:
        assert next(source) == 0
    assert len(made) <= AHEAD + 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_an_error_is_raised_in_its_place() -> None:
    def make(number: int) -> int:
        if number == 2:
            raise ValueError("broken picture")
        return number

    source = prefetch(make, range(5), 2)
    assert [next(source), next(source)] == [0, 1]
    with pytest.raises(ValueError, match="broken picture"):
        next(source)
