"""What was probably meant by a mistyped word, and a group of commands that says so."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

LIKELY = 0.6  # of difflib's ratio; a word less alike is no help
MOST = 3


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'a' or 'b'?` with what of `known` is most like the word; empty where nothing is."""
    close = difflib.get_close_matches(word, list(known), n=MOST, cutoff=LIKELY)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


class Group(click.Group):
    """A group of commands that names those most like a mistyped one, whatever version of click is installed."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Raises UsageError with what was probably meant."""
        name = args[0]
        if name[:1].isalnum() and self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            ctx.fail(f"There is no command {name!r}.{did_you_mean(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)
