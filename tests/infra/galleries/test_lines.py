"""Items in a mapped file: the same as all of them read, whatever their labels hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from infra.errors.galleries import GalleryCorrupt
from infra.galleries import lines
from infra.galleries.files import Item, encode_items, read_items
from infra.galleries.item_keys import made_keys
from infra.galleries.lines import ItemLines
from tests.infra.gallery_items import item

LABELS = (
    "plain",
    'a "quoted" one',
    "back\\slash",
    "café",
    "茶",
    'has ,"metadata":{} in it',
    "line\u2028end",
    "tab\there",
)


def some_items(count: int = 50) -> list[Item]:
    """Of labels that JSON escapes and of such that it does not, some with metadata, some with a box."""
    return [
        replace(
            item(number, LABELS[number % len(LABELS)], (1, 2, 3, 4 + number) if number % 3 else None),
            metadata={"shelf": f"s{number % 4}", "size": ',"metadata":{}'} if number % 5 == 0 else {},
        )
        for number in range(count)
    ]


def mapped(tmp_path: Path, data: bytes, count: int) -> ItemLines:
    path = tmp_path / "items.jsonl"
    path.write_bytes(data)
    return ItemLines(path, count, "drinks", made_keys)


@pytest.mark.parametrize(("at_once", "together"), [(7, 3), (1 << 20, 4096)])
def test_items_are_those_that_reading_the_file_gives(
    at_once: int, together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "SCANNED_AT_ONCE", at_once)
    monkeypatch.setattr(lines, "LINES_AT_ONCE", together)
    data = encode_items(some_items())
    expected = read_items(data)
    found = mapped(tmp_path, data, 50)
    assert tuple(found) == expected
    assert [found[at] for at in range(50)] == list(expected)
    assert found[-1] == expected[-1]
    assert found[3:40:7] == expected[3:40:7]
    assert list(found.labels()) == [one.label for one in expected]
    assert dict(found.with_metadata()) == {at: one.metadata for at, one in enumerate(expected) if one.metadata}
    assert [found.place_of(one.id) for one in expected] == list(range(50))
    assert found.place_of("itm_none") is None
    for place in (50, -51):
        with pytest.raises(IndexError):
            found[place]


def test_lines_of_earlier_releases_are_read_alike(tmp_path: Path) -> None:
    """Members in another order, and a label from before there was a rule for labels."""
    records = [json.loads(line) for line in encode_items(some_items(4)).splitlines()]
    records[1] = dict(reversed(records[1].items()))
    records[2]["label"] = " tea\r\n"
    records[3]["label"] = "tea "
    records[3] = {"metadata": {"shelf": 3, "metadata": "x"}, **records[3]}
    data = b"".join(json.dumps(one).encode() + b"\n" for one in records)
    found = mapped(tmp_path, data, 4)
    assert list(found.labels()) == [one.label for one in read_items(data)]
    assert list(found) == list(read_items(data))
    assert dict(found.with_metadata()) == {at: one.metadata for at, one in enumerate(found) if one.metadata}


@pytest.mark.parametrize("count", [3, 5])
def test_another_number_of_lines_is_refused(count: int, tmp_path: Path) -> None:
    with pytest.raises(GalleryCorrupt):
        mapped(tmp_path, encode_items(some_items(4)), count)


@pytest.mark.parametrize("data", [b"", encode_items(some_items(4))[:-1], encode_items(some_items(4)) + b"{}"])
def test_what_does_not_end_with_a_line_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(GalleryCorrupt):
        mapped(tmp_path, data, 4)


def test_a_line_that_is_no_item_is_reported_when_it_is_read(tmp_path: Path) -> None:
    found = mapped(tmp_path, encode_items(some_items(1)) + b"{}\n", 2)
    assert found[0] == some_items(1)[0]
    with pytest.raises(GalleryCorrupt):
        found[1]
    with pytest.raises(GalleryCorrupt):
        list(found.labels())
