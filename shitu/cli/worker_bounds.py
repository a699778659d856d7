"""The value of `--workers`: a number, or the fewest and the most that a pool keeps."""

from __future__ import annotations

import re
from typing import Any

import click


class Bounds(click.ParamType[tuple[int, int]]):
    """`2` -> (2, 2); `0..4` -> (0, 4)."""

    name = "number|least..most"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Fails for anything else, for more at least than at most, and for none at all."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,4})(?:\.\.(\d{1,4}))?", str(value))
        if not found:
            self.fail(
                f"{value!r} is neither a number of workers (2) nor the fewest and the most of them (0..4).", param, ctx
            )
        least, most = int(found[1]), int(found[2] or found[1])
        if least > most:
            self.fail(f"{value!r}: the fewest workers come first, such as {most}..{least}.", param, ctx)
        if most < 1:
            self.fail(f"{value!r}: without a worker no job is done; 0..1 starts one when a job comes.", param, ctx)
        return least, most
