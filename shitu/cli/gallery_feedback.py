"""`shitu gallery feedback`: what people said of a gallery's answers, counted, and written as lists to train and evaluate by.

The service's own lists name photos and boxes (docs/api.md). Here each box is cut out, with the margin that it is searched
with, so that whatever reads lists of pictures reads these.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from contracts.pictures import ENDINGS, format_of
from infra.errors.photos import ObjectNotFound
from infra.galleries.feedback import VERDICTS, GalleryFeedback, coco_of, held_out, last_of, read_feedback
from infra.galleries.reader import GalleryReader
from infra.objects.opening import open_store
from infra.runtime.settings import load_settings
from models.errors import ImageError
from models.pictures.image import crop, decode, with_margin
from shitu.cli.options import GALLERY_NAME, JSON, SERVER, examples, out
from shitu.cli.progress import tracked, working
from shitu.cli.searched import Passed
from shitu.cli.server import PAGE, Server, ServerError
from shitu.cli.terminal import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from infra.galleries.feedback import Feedback

    Read = Callable[[Feedback], bytes]

ENDING_OF = {"JPEG": ".jpg", "HEIF": ".heic", "TIFF": ".tif"}  # the others are called as their format


@click.command(
    epilog=examples(
        "gallery feedback drinks",
        "gallery feedback drinks --out feedback --holdout",
        "gallery feedback drinks --out feedback --server http://127.0.0.1:8000",
    )
)
@GALLERY_NAME
@out("Folder for the cut-out pictures with their lists, and the photos with COCO JSON.")
@click.option(
    "--holdout", is_flag=True, help="With --out: every fifth photo goes to eval.tsv alone, the others to train.tsv."
)
@JSON
@SERVER
def feedback(name: str, out: Path | None, holdout: bool, as_json: bool, server: str | None) -> None:
    """Count the feedback on answers of the gallery NAME, or write it as data to train and to evaluate by.

    With --out: crops/ and labels.tsv (path, label, job) for each box whose label is known; images/ and coco.json with all
    boxes, without a label as crowds. The last feedback on a box counts. Exit status 1 if a photo can't be used.
    """
    if holdout and out is None:
        raise click.UsageError("--holdout goes with --out")
    passed = Passed()
    with errors():
        with working(f"Reading the feedback of {name!r}"):
            made, read = _of_store(name) if server is None else _of_service(Server(server), name)
        if out is not None:
            _write(out, last_of(made), read, passed, holdout=holdout)
    counted = Counter(one.verdict for one in made)
    counts = {verdict: counted[verdict] for verdict in VERDICTS}
    if as_json:
        click.echo(json.dumps({"gallery": name, "counts": counts}, indent=2))
    else:
        click.echo(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    passed.report()
    if passed.bad:
        raise click.exceptions.Exit(1)


def _of_store(name: str) -> tuple[list[Feedback], Read]:
    settings = load_settings()
    objects = open_store(settings.objects, settings.data_dir)
    book = GalleryFeedback(objects, GalleryReader(objects))
    made: list[Feedback] = []
    after = None
    while True:
        page = book.page(name, after, PAGE)
        made += page.feedback
        after = page.next_after
        if after is None:
            return made, lambda one: objects.get(one.image_key)


def _of_service(server: Server, name: str) -> tuple[list[Feedback], Read]:
    path = f"/galleries/{quote(name, safe='')}/feedback"
    made: list[Feedback] = []
    query: dict[str, Any] = {"limit": PAGE}
    while True:
        page = server.get(path, **query)
        made += [read_feedback(one) for one in page["feedback"]]
        query["after"] = page["next_after"]
        if page["next_after"] is None:
            return made, lambda one: server.picture(f"{path}/{one.id}/image")


def _write(folder: Path, entries: Sequence[Feedback], read: Read, passed: Passed, *, holdout: bool) -> None:
    """Crops and photos of what has feedback, and the lists that name them."""
    (folder / "crops").mkdir(parents=True, exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    by_photo: dict[str, list[Feedback]] = {}
    for one in entries:
        by_photo.setdefault(one.image_key, []).append(one)
    kept = held_out(list(entries)) if holdout else set()
    lines: dict[str, list[str]] = {"train.tsv": [], "eval.tsv": []} if holdout else {"labels.tsv": []}
    named: list[Feedback] = []
    for key, boxes in tracked(list(by_photo.items()), "Writing the pictures"):
        file = folder / "images" / key.rpartition("/")[2]
        try:
            data = read(boxes[0])
            image = decode(data)
        except (ImageError, ObjectNotFound, ServerError) as error:
            passed.refuse(file, error.detail, getattr(error, "code", "") or "unreadable")
            continue
        file = file.with_name(file.name + _ending(data))
        file.write_bytes(data)
        named += [replace(one, image_key=file.name) for one in boxes]
        own = lines["eval.tsv" if key in kept else "train.tsv"] if holdout else lines["labels.tsv"]
        for one in boxes:
            if one.label is None:
                continue
            part = image if one.box is None else crop(image, with_margin(one.box, *image.shape[:2]))
            _save(part, folder / "crops" / f"{one.id}.png")
            own.append(f"crops/{one.id}.png\t{one.label}\t{one.job_id}\n")
    for list_name, own in lines.items():
        (folder / list_name).write_text("".join(own), encoding="utf-8")
    (folder / "coco.json").write_text(json.dumps(coco_of(named), ensure_ascii=False), encoding="utf-8")


def _ending(data: bytes) -> str:
    """Of a file with these bytes, so that whatever looks at names takes it for a picture."""
    found = format_of(data) or ""
    ending = ENDING_OF.get(found, f".{found.lower()}")
    return ending if ending in ENDINGS else ""


def _save(image: Any, file: Path) -> None:
    from PIL import Image

    Image.fromarray(image).save(file, "PNG")
