"""The options that commands share: the same thing has the same name, kind and help in each of them; docs/cli.md lists them.

`examples` puts lines to copy at the end of a command's help.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contracts.filters import FilterInvalidError, filter_of
from contracts.options import RECOGNIZE_OPTIONS, box_faults
from infra.runtime.machine import read_limits
from models.engines.loader import ENGINES

if TYPE_CHECKING:
    from collections.abc import Callable

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

PROGRAM = "shitu"
FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
PRESENT_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
PRESENT_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
PRESENT = click.Path(path_type=Path, exists=True)

JSON = click.option("--json", "as_json", is_flag=True, help="JSON on standard output, for programs.")
ENGINE = click.option(
    "--engine", type=click.Choice(ENGINES), default="auto", show_default=True, help="What runs the models."
)
DETECTOR = click.option(
    "--detector", default="shitu-detector", show_default=True, help="Name or folder; `none`: no detector."
)
EMBEDDER = click.option("--embedder", default="shitu-embedder", show_default=True, help="Name or folder.")
DATA = click.option("--data", type=PRESENT_FOLDER, help="Folder that the recipe's photos are relative to.")
ROOT = click.option("--root", type=PRESENT_FOLDER, help="Folder that paths in lists are relative to; default: each list's own.")  # fmt: skip
IDS = click.option("--ids", is_flag=True, help="Lists have a third column, an id of each photo, and it counts.")
BINARY = click.option("--binary", is_flag=True, help="Search binary codes (one bit a dimension) by Hamming distance.")  # fmt: skip
RERANK = click.option(
    "--rerank",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="With --binary: rerank the N nearest by the float embeddings; 0: none.",
)
VERSION = click.option("--version", type=click.IntRange(1), help="A version that is kept; default: the one in force.")
SERVER = click.option("--server", metavar="URL", help="Use the service at this address instead of this machine's files.")  # fmt: skip
GALLERY_NAME = click.argument("name")


def threads(most: int = 2) -> Decorator:
    """`--threads`, by default `most` or the cores if they are fewer."""
    return click.option(
        "--threads",
        type=click.IntRange(1),
        default=lambda: min(most, read_limits().cores),
        show_default=f"{most}, or the cores if fewer",
        help="CPU threads.",
    )


class BoxType(click.ParamType[list[int]]):
    """A box as `x1,y1,x2,y2`: whole pixels of the upright photo."""

    name = "box"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """Four whole numbers."""
        try:
            box = [int(part) for part in str(value).split(",")]
        except ValueError:
            box = []
        if faults := box_faults([box]):
            report = "is not x1,y1,x2,y2 in whole pixels" if len(box) != 4 else faults[0][1]
            self.fail(f"{value!r} {report}", param, ctx)
        return box


BOXES = click.option(
    "--box",
    "boxes",
    type=BoxType(),
    multiple=True,
    metavar="X1,Y1,X2,Y2",
    help="Look up this part of the photo and detect nothing; may be repeated.",
)


class FilterType(click.ParamType[str]):
    """A filter of items as `name:value`."""

    name = "filter"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As it was written, if it is one."""
        try:
            filter_of(str(value))
        except FilterInvalidError as error:
            self.fail(str(error), param, ctx)
        return str(value)


FILTER = click.option(
    "--filter",
    "filters",
    type=FilterType(),
    multiple=True,
    metavar="NAME:VALUE",
    help="Only items with this metadata; may be repeated.",
)


def top_k(what: str, most: int | None = None) -> Decorator:
    """`--top-k`, how many of the best are reported."""
    return click.option("--top-k", type=click.IntRange(1, most), default=5, show_default=True, help=what)


def declared(name: str, what: str | None = None, flag: str | None = None) -> Decorator:
    """An option of a recognition (contracts.options) with its range and default; `flag` if it has another name here."""
    one = RECOGNIZE_OPTIONS[name]
    kind: click.IntRange | click.FloatRange | click.Choice[str]
    if one.choices:
        kind = click.Choice(one.choices)
    elif one.whole:
        kind = click.IntRange(int(one.lowest), int(one.highest))
    else:
        kind = click.FloatRange(one.lowest, one.highest)
    shows = one.default is not None
    return click.option(
        flag or f"--{name.replace('_', '-')}", type=kind, default=one.default, show_default=shows, help=what
    )


def out(what: str, kind: click.Path = FOLDER, **more: Any) -> Decorator:
    """`--out`, the one name for where a command writes."""
    return click.option("--out", type=kind, help=what, **more)


def gallery(what: str, **more: Any) -> Decorator:
    """`--gallery`, where a command's argument is something else than the gallery."""
    return click.option("--gallery", help=what, **more)


def examples(*lines: str) -> str:
    """An epilog with command lines to copy, each without the program's name."""
    return "\n".join(["\b", "Examples:", *(f"  {PROGRAM} {line}" for line in lines)])
