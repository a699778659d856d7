"""The scope that each view needs stands next to it: `@needs(Scope.MANAGE)`, between its route and its `@operation(...)`.

A view without one needs the widest, so that a forgotten line lets nobody in; a test names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from contracts.keys import Scope

if TYPE_CHECKING:
    from collections.abc import Callable

View = TypeVar("View", bound="Callable[..., Any]")


def needs(scope: Scope) -> Callable[[View], View]:
    """Says which scope the view below needs."""

    def mark(view: View) -> View:
        view.scope = scope  # type: ignore[attr-defined]  # a function takes any attribute
        return view

    return mark


def open_to_all(view: View) -> View:
    """Says that the view below needs no key: probes, the description, and what signs in."""
    view.scope = None  # type: ignore[attr-defined]  # as above
    return view


def is_declared(view: object) -> bool:
    """Whether it was said what the view needs."""
    return hasattr(view, "scope")


def scope_of(view: object) -> Scope | None:
    """What the view needs; None: nothing."""
    found = getattr(view, "scope", Scope.ADMIN)
    return None if found is None else Scope(found)
