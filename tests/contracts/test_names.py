"""The one rule for labels, and names from outside."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.names import (
    LabelRefused,
    clean_label,
    clean_name,
    decode_name,
    folded,
    is_clutter,
    readable_label,
    shown,
)


@pytest.mark.parametrize(
    ("sent", "label"),
    [
        (" Green tea ", "Green tea"),
        ("cafe\u0301", "caf\u00e9"),
        ("\ufeff可乐\u200b", "可乐"),
        ("👩\u200d🍳", "👩\u200d🍳"),
        ("\u0645\u06cc\u200c\u0634\u0648\u062f", "\u0645\u06cc\u200c\u0634\u0648\u062f"),
        ("x" * 200, "x" * 200),
    ],
)
def test_a_label_is_nfc_and_trimmed(sent: str, label: str) -> None:
    assert clean_label(sent) == label


@pytest.mark.parametrize(
    "sent",
    ["", "  ", "\u200b", "\u2800", "\u3164", "\u200d", "a\tb", "a\nb", "a\0b", "a\x7fb", "a\u2028b", "te\u00ada",
     "te\u200ba", "a\u202eb", "\ud800", "\udcbf\udcc9", "a\ufffd", "a\uffff", "x" * 201],
)  # fmt: skip
def test_a_label_that_breaks_the_rule_is_refused(sent: str) -> None:
    with pytest.raises(LabelRefused, match="a label"):
        clean_label(sent)


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_whatever_is_stored_can_be_read_again_and_written(text: str) -> None:
    label = readable_label(text)
    label.encode()
    assert readable_label(label) == label
    assert unicodedata.is_normalized("NFC", label)
    clean_name(text).encode()
    shown(text).encode()
    try:
        clean = clean_label(text)
    except LabelRefused:
        return
    assert clean_label(clean) == readable_label(clean) == clean


def test_bytes_that_are_not_utf8() -> None:
    gbk = "可乐".encode("gbk")
    assert decode_name(gbk) == clean_name(os.fsdecode(gbk)) == readable_label(os.fsdecode(gbk)) == "可乐"
    assert shown(os.fsdecode(gbk + b".jpg")) == r"\xbf\xc9\xc0\xd6.jpg"
    assert decode_name(b"caf\xe9.jpg") == "caf\ufffd.jpg"


@pytest.mark.parametrize(
    "path", ["._1.jpg", "__MACOSX/a/1.jpg", "@eaDir/1.jpg/S.jpg", "Thumbs.db", ".DS_Store", "a/.x/1.jpg"]
)
def test_clutter(path: str) -> None:
    assert is_clutter(path.split("/"))
    assert not is_clutter(["cola", "1.jpg"])


@pytest.mark.parametrize("text", ["Café", "CAFE", "cafe\u0301", "ｃａｆé", " \u200bCafE", "caf\u00c9"])
def test_a_search_knows_no_case_accents_width_nor_form(text: str) -> None:
    assert folded(text) == "cafe"


@given(st.text(), st.text())
def test_what_begins_so_is_found_so(start: str, rest: str) -> None:
    assert folded(folded(start)) == folded(start)
    if unicodedata.category((rest + " ")[0]) not in {"Mn", "Mc"}:  # else it joins the last letter
        assert folded(start + rest).startswith(folded(start).rstrip())
