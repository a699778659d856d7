from __future__ import annotations

import pytest

from contracts.filters import FilterInvalidError, filter_of, filters_of, meets


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("brand:x", ("brand", "x")),
        ("url:http://a:80", ("url", "http://a:80")),
        ("empty:", ("empty", "")),
        ("note: two words ", ("note", " two words ")),
        ("name:绿茶", ("name", "绿茶")),
    ],
)
def test_a_filter_is_a_name_and_a_value(text: str, pair: tuple[str, str]) -> None:
    assert filter_of(text) == pair


@pytest.mark.parametrize("text", ["", "brand", ":x", "two words:x", "brand=x", "ä:x", "a:" + "x" * 501, "a:\x00"])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(FilterInvalidError):
        filter_of(text)


def test_all_must_be_met() -> None:
    filters = filters_of(["brand:x", "size:1", "brand:x"])
    assert filters == (("brand", "x"), ("size", "1"))
    assert meets({"brand": "x", "size": "1", "more": "y"}, filters)
    assert not meets({"brand": "x"}, filters)
    assert not meets({"brand": "X", "size": "1"}, filters)
    assert not meets(None, filters)
    assert meets(None, ())
    assert not meets({"brand": "x"}, filters_of(["brand:x", "brand:y"]))
