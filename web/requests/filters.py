"""Filters of items by their metadata, as requests name them: `filter=brand:x`, repeated for several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.filters import FilterInvalidError, filter_of
from infra.errors.requests import InvalidFilter

if TYPE_CHECKING:
    from collections.abc import Sequence


def checked_filters(texts: Sequence[str]) -> list[str]:
    """The filters, if each is one. Raises InvalidFilter that names all which are none."""
    errors = []
    for position, text in enumerate(texts):
        try:
            filter_of(text)
        except FilterInvalidError as error:
            errors.append({"pointer": f"/filter/{position}", "detail": str(error)})
    if errors:
        report = "; ".join(f"filter.{error['pointer'].rpartition('/')[2]}: {error['detail']}" for error in errors)
        raise InvalidFilter(f"{report}.", errors=errors)
    return list(texts)
