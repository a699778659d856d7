"""`shitu data`: look a data set through before hours are spent on it."""

import dataclasses
import json
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

import click

from commands.terminal import errors, given, tell_preparation
from models.errors import ModelError

# option -> the kinds of data that it is about
ABOUT = {
    "root": {"list", "sop", "coco"},
    "delimiter": {"list"},
    "with_id": {"list"},
    "images": {"coco", "voc"},
}


@click.group()
def data() -> None:
    """Data sets to train and to examine with."""


@data.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--kind", type=click.Choice(("list", "folders", "sop", "coco", "voc")), help="Default: found out.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder that paths in a file are relative to; default the file's.",
)
@click.option("--delimiter", default="", help="Of a list's columns, \\t for a tab; default: found out.")
@click.option("--with-id", is_flag=True, help="Lists must have the third column.")
@click.option("--images", default="", help="Folder of a COCO file's or VOC folder's pictures, below the root.")
@click.option("--threads", type=click.IntRange(1), default=min(4, os.cpu_count() or 1), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, and no progress.")
def lint(
    paths: tuple[Path, ...],
    kind: str | None,
    root: Path | None,
    delimiter: str,
    with_id: bool,
    images: str,
    threads: int,
    as_json: bool,
) -> None:
    """Name every bad line and every missing or broken picture of lists, folders of labels, SOP, COCO and VOC data.

    All PATHs together are one data set: the same picture under two labels is an error, be they in one file or in two.
    Empty boxes and boxes out of their picture are errors too; labels with one picture and doubles are warnings. The exit
    code is 1 if there are errors.
    """
    from models.training.lint import Layout, lint

    _check(paths, kind)
    layout = Layout(kind or "", root, delimiter.replace("\\t", "\t"), with_id, images)
    with errors():
        report = lint(paths, layout, None if as_json else tell_preparation(), threads)
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(report), "errors": report.errors}, ensure_ascii=False, indent=2))
    else:
        for finding in report.findings:
            click.echo(f"{finding.level}: {finding.place}: {finding.text}")
        kinds = ", ".join(f"{count} x {name}" for name, count in sorted(Counter(report.kinds.values()).items()))
        boxes = f", {report.boxes} boxes" if report.boxes else ""
        click.echo(f"{kinds or 'nothing'}: {report.pictures} pictures, {report.labels} labels{boxes}")
        click.echo(f"{report.errors} errors, {len(report.findings) - report.errors} warnings")
    if report.errors:
        raise click.exceptions.Exit(1)


def _check(paths: tuple[Path, ...], kind: str | None) -> None:
    """Raises UsageError for an option about another kind of data than there is."""
    from models.training.lint import kind_of

    kinds = {kind} if kind else set()
    for path in () if kind else paths:
        with suppress(ModelError):  # it is told with all the other faults
            kinds.add(kind_of(path))
    for option, about in ABOUT.items():
        if given(option) and kinds and not kinds & about:
            name = option.replace("_", "-")
            raise click.UsageError(f"--{name} is about {', '.join(sorted(about))} data, not {', '.join(sorted(kinds))}")
