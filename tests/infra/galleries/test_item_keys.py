"""Keys find the items that a search through all of them finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from infra.galleries.files import Item, item_id
from infra.galleries.item_keys import ItemKeys, decode_keys, encode_keys, made_keys
from tests.infra.gallery_items import item

ITEMS = [item(number) for number in range(200)]
OLDER = replace(ITEMS[0], id=item_id(ITEMS[0].sha256, "as it was\r"))  # its label has been made readable since


def kept(items: Sequence[Item]) -> ItemKeys:
    """Written and read again."""
    return decode_keys(encode_keys(made_keys(items)), len(items))


def test_items_by_id() -> None:
    keys = kept(ITEMS)
    assert keys.rows_of([one.id for one in ITEMS]).tolist() == list(range(200))
    assert keys.rows_of([item(200).id, ITEMS[7].id, "", "itm_", "itm_" + "f" * 24]).tolist() == [-1, 7, -1, -1, -1]
    assert keys.rows_of([]).tolist() == []
    assert keys.size_bytes == len(encode_keys(keys))
    assert len(keys) == 200


def test_an_item_of_an_older_label_is_found_by_its_id_and_by_what_it_is() -> None:
    keys = kept([*ITEMS[1:], OLDER])
    assert keys.rows_of([OLDER.id, ITEMS[0].id]).tolist() == [199, -1]
    assert keys.rows_of([OLDER.id, ITEMS[0].id], by_content=True).tolist() == [199, 199]
    both = kept([OLDER, ITEMS[0]])
    assert both.rows_of([OLDER.id, ITEMS[0].id]).tolist() == [0, 1]


def test_ids_of_other_forms_are_found_and_not_guessed_from_keys() -> None:
    other = replace(ITEMS[0], id="from elsewhere")
    keys = kept([ITEMS[1], other])
    assert keys.rows_of(["from elsewhere", ITEMS[1].id]).tolist() == [1, 0]
    assert keys.ids_of(np.array([0])) is None


def test_ids_and_labels() -> None:
    odd = [replace(item(300), id="itm_" + "ab" * 11 + "00"), replace(item(301), id="itm_" + "00" * 12)]
    items = [*ITEMS, *odd]
    keys = kept(items)
    rows = np.array([201, 3, 77, 200])
    assert keys.ids_of(rows) == [items[row].id for row in (3, 77, 200, 201)]
    for label in ("label 0", "label 1", "label 2"):
        expected = [row for row, one in enumerate(items) if one.label == label]
        assert keys.rows_of_label(label).tolist() == expected
    assert keys.rows_of_label("label").tolist() == []
    alive = np.array([one.label != "label 1" for one in items])
    assert len(keys.some_labels(10, None)) == 3
    assert keys.some_labels(10, alive) == keys.some_labels(10, None) - made_keys([ITEMS[1]]).some_labels(1, None)
    assert len(keys.some_labels(1, None)) == 1
    assert keys.some_labels(10, np.zeros(len(items), bool)) == set()


def test_no_items() -> None:
    keys = kept([])
    assert keys.rows_of([ITEMS[0].id]).tolist() == [-1]
    assert keys.rows_of_label("label 0").tolist() == []
    assert keys.some_labels(3, None) == set()


@pytest.mark.parametrize("data", [b"", b"nonsense" * 20, encode_keys(made_keys(ITEMS))[:-1]])
def test_a_file_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"header|another file"):
        decode_keys(data, 200)


def test_keys_of_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match="another file"):
        decode_keys(encode_keys(made_keys(ITEMS)), 199)
    keys = made_keys(ITEMS)
    with pytest.raises(ValueError, match="a row"):
        decode_keys(encode_keys(replace(keys, rows=keys.rows + np.uint32(1))), 200)
