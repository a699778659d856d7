"""Tables: types hold where a table is read, rules always, and every mistake is reported once with its path."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest

from models.errors import ModelError
from models.tables import Count, Flag, Float, TableError, Text, Whole, frozen_table, known, read_table, rule


class ShelfError(TableError):
    code = "shelf_invalid"


def _shelf(kind: type[Any]) -> Any:
    return frozen_table(kind, ShelfError)


@_shelf
class Board:
    length_cm: Count
    wood: Annotated[str, known("oak", "beech")] = "oak"
    ends: tuple[Float, Float] = (0.0, 0.0)

    @rule("ends", "length_cm")
    def _ends_lie_on_it(self) -> Iterator[str]:
        if self.ends[0] + self.ends[1] > self.length_cm:
            yield f"are longer together than {self.length_cm} cm"


@_shelf
class Shelf:
    name: Text
    boards: tuple[Board, ...]
    best: Whole = 0
    painted: Flag = False
    prices: dict[str, Float] = dataclasses.field(default_factory=dict)
    top: Board | None = None

    @rule("best", "boards")
    def _best_is_one_of_them(self) -> Iterator[str]:
        if self.best >= len(self.boards):
            yield f"is {self.best}, but there are {len(self.boards)} boards"


GOOD: dict[str, Any] = {"name": "hall", "boards": [{"length_cm": 80}, {"length_cm": 60, "ends": [1, 2.5]}]}


def mistakes(data: object) -> list[str]:
    with pytest.raises(ShelfError) as caught:
        read_table(Shelf, data)
    assert caught.value.code == "shelf_invalid"
    return [str(fault) for fault in caught.value.faults]


def test_what_is_right_is_read() -> None:
    shelf = read_table(Shelf, GOOD)
    assert shelf == Shelf("hall", (Board(80), Board(60, ends=(1.0, 2.5))))
    assert dataclasses.asdict(shelf)["boards"][1] == {"length_cm": 60, "wood": "oak", "ends": (1.0, 2.5)}
    with pytest.raises(dataclasses.FrozenInstanceError):
        shelf.name = "other"


@pytest.mark.parametrize(
    ("more", "report"),
    [
        ({"name": ""}, ["name: must be text that is not empty"]),
        ({"name": 3}, ["name: must be text, not 3"]),
        ({"name": None}, ["name: must be text, not null"]),
        ({"painted": 1}, ["painted: must be true or false, not 1"]),
        ({"best": True}, ["best: must be a whole number, not true"]),
        ({"best": 2}, ["best: is 2, but there are 2 boards"]),
        ({"name": 10**5000}, ["name: must be text, not a number that long"]),
        ({"prices": {"oak": "costly"}}, ["prices.oak: must be a number, not 'costly'"]),
        ({"prices": {"oak": float("nan")}}, ["prices.oak: must be a finite number, not nan"]),
        ({"prices": []}, ["prices: must be a table, not []"]),
        ({"boards": 3}, ["boards: must be a list, not 3"]),
        ({"boards": [3]}, ["boards[0]: must be a table, not 3"]),
        ({"boards": [{"length_cm": 9, "ends": [1.0]}]}, ["boards[0].ends: has too few entries: [1.0]"]),
        ({"boards": [{"length_cm": 9, "ends": [1, 1, 1]}]}, ["boards[0].ends: must have 2 or fewer entries, not 3"]),
        ({"boards": [{"length_cm": 9, "ends": [5, 5]}]}, ["boards[0].ends: are longer together than 9 cm"]),
        ({"top": {"length_cm": 0}}, ["top.length_cm: must be 1 or more, not 0"]),
        ({"top": {"length_cm": 9, "wood": "bech"}}, ["top.wood: must be one of 'oak', 'beech', not 'bech'; did you mean 'beech'?"]),
        ({"bost": 1}, ["bost: is an unknown key; did you mean 'best'?"]),
        ({"colour": 1}, ["colour: is an unknown key; known: name, boards, best, painted, prices, top"]),
        ({"name": "x" * 200, "painted": "y" * 200}, [f"painted: must be true or false, not {repr('y' * 200)[:80]}..."]),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_its_path(more: dict[str, Any], report: list[str]) -> None:
    assert mistakes({**GOOD, **more}) == report


@pytest.mark.parametrize("data", [None, [], "hall", 3])
def test_what_is_no_table_is_said_to_be_none(data: object) -> None:
    (report,) = mistakes(data)
    assert report.startswith("must be a table, not ")


def test_rules_are_held_to_next_to_other_mistakes_unless_their_keys_are_wrong() -> None:
    boards = [{"length_cm": 9, "ends": [5, 5], "wood": "ash"}, {"length_cm": 0, "ends": [5, 5]}]
    assert mistakes({"boards": boards, "best": 7}) == [
        "name: is missing",
        "boards[0].wood: must be one of 'oak', 'beech', not 'ash'",
        "boards[0].ends: are longer together than 9 cm",
        "boards[1].length_cm: must be 1 or more, not 0",
    ]
    assert mistakes({"boards": [{"length_cm": 9}], "best": 7}) == [
        "name: is missing",
        "best: is 7, but there are 1 boards",
    ]


def test_a_misspelt_key_is_not_reported_as_the_missing_one_too() -> None:
    assert mistakes({"name": "hall", "boards": [{"length_cm": 9}], "bests": 1}) == [
        "bests: is an unknown key; did you mean 'best'?"
    ]
    assert mistakes({"name": "hall", "bords": [{"length_cm": 9}]}) == [
        "boards: is missing",
        "bords: is an unknown key; did you mean 'boards'?",
    ]


@pytest.mark.parametrize(
    "make", [lambda: Board(3, ends=(2.0, 2.0)), lambda: dataclasses.replace(Board(4), ends=(3, 3))]
)
def test_rules_hold_wherever_a_table_is_made(make: Callable[[], object]) -> None:
    with pytest.raises(ShelfError, match="ends: are longer together"):
        make()


def test_one_mistake_is_one_line_and_several_are_listed() -> None:
    one = ShelfError.of(ShelfError("is wrong").faults, "a.toml")
    assert one.detail == "a.toml: is wrong"
    with pytest.raises(ShelfError) as caught:
        read_table(Shelf, {"boards": [], "best": -1})
    assert ShelfError.of(caught.value.faults, "a.toml").detail == (
        "a.toml: 2 mistakes:\n  name: is missing\n  best: must be 0 or more, not -1"
    )
    assert isinstance(caught.value, ModelError)
