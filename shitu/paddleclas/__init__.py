"""PaddleClas' own interfaces over ShiTu: `from shitu.paddleclas import PaddleClas`, its command and its deploy scripts.

Names, flags, keys and fields are theirs, misspelt ones included; docs/moving.md has what differs and why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shitu.paddleclas.api import PaddleClas

__all__ = ["PaddleClas"]


def __getattr__(name: str) -> Any:
    if name != "PaddleClas":
        raise AttributeError(f"module 'shitu.paddleclas' has no attribute {name!r}")
    from shitu.paddleclas.api import PaddleClas

    return PaddleClas
