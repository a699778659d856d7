"""Scopes include what users expect, and names of keys can be shown."""

from __future__ import annotations

import pytest

from contracts.keys import Scope, allows, clean_key_name


@pytest.mark.parametrize(
    ("held", "allowed"),
    [
        (["read"], ["read"]),
        (["recognize"], ["read", "recognize"]),
        (["manage"], ["read", "recognize", "manage"]),
        (["admin"], ["read", "recognize", "manage", "admin"]),
        (["read", "recognize"], ["read", "recognize"]),
        ([], []),
    ],
)
def test_a_scope_includes_those_before_it(held: list[str], allowed: list[str]) -> None:
    scopes = [Scope(name) for name in held]
    assert [str(scope) for scope in Scope if allows(scopes, scope)] == allowed


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[31m", "x" * 101])
def test_a_name_that_cannot_be_shown_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 100 visible characters"):
        clean_key_name(name)


def test_a_name_is_trimmed() -> None:
    assert clean_key_name("  Kasse 3 · 收银台 ") == "Kasse 3 · 收银台"
