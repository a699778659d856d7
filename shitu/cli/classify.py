"""`shitu classify`: pictures in, their likeliest classes out, here or (--server) by a running service."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from contracts.names import shown
from models.errors import ModelError
from models.pictures.image import decode
from shitu.cli.options import ENGINE, JSON, SERVER, examples, threads, top_k
from shitu.cli.progress import tracked
from shitu.cli.searched import Passed, found_photos, read_bytes
from shitu.cli.server import Server, ServerError
from shitu.cli.tables import print_table
from shitu.cli.terminal import errors, given
from shitu.cli.weights import SUFFIX, model_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 16  # pictures that are held decoded at a time


@click.command(epilog=examples("classify photos/ --model PPLCNet_x1_0 --top-k 3"))
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--model",
    help="A pulled model's name, an artifact, an official archive, or .pdparams weights; needed without --server.",
)
@click.option("--network", help="The network that .pdparams weights must be of; default: read from them.")
@top_k("Classes reported of each picture.")
@click.option(
    "--class-map",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help='The names of the classes: a line "id label words" for each.',
)
@ENGINE
@threads()
@JSON
@SERVER
def classify(
    photos: Sequence[Path],
    model: str | None,
    network: str | None,
    top_k: int,
    class_map: Path | None,
    engine: str,
    threads: int,
    as_json: bool,
    server: str | None,
) -> None:
    """Classify PHOTOS (files or folders). A photo that can't be read is reported and skipped; exit status 1."""
    if server is not None:
        _there(Server(_of_service(server)), photos, top_k, as_json=as_json)
    if model is None:
        raise click.UsageError("--model names what classifies here; --server uses the service's own")
    from models.classifier import Classifier, read_class_map

    console = Console(stderr=True)
    with errors():
        names: Mapping[int, str] | None = read_class_map(class_map) if class_map else None
        classifier = Classifier(_folder(model, network), engine, threads, class_map=names)
    passed = Passed()
    paths = list(found_photos(photos, passed))
    if not paths:
        passed.report()
        raise click.ClickException("there are no pictures in " + ", ".join(map(shown, photos)))
    answers: list[dict[str, Any]] = []
    failed = False
    for some in _batches(tracked(paths, "Classifying", console)):
        read, report = _read(some)
        for line in report:
            failed = True
            console.print(line, style="red", markup=False, soft_wrap=True)
        with errors():
            found = classifier([image for _, image in read], top_k)
        answers += [one.to_dict(shown(path)) for (path, _), one in zip(read, found, strict=True)]
    if as_json:
        click.echo(json.dumps(answers, ensure_ascii=False, indent=2))
    elif answers:
        _print_table(answers, f"{classifier.name} on {classifier.engine}")
    passed.report()
    sys.exit(1 if failed or passed.bad else 0)


def _there(server: Server, photos: Sequence[Path], top_k: int, *, as_json: bool) -> NoReturn:
    """The same by a service's classifier."""
    passed, answers = Passed(), []
    paths = list(found_photos(photos, passed))
    if not paths:
        passed.report()
        raise click.ClickException("there are no pictures in " + ", ".join(map(shown, photos)))
    for path in tracked(paths, "Classifying", Console(stderr=True)):
        try:
            (part,) = server.photo_result("classifications", path, read_bytes(path), top_k=top_k)["classifications"]
        except ModelError as error:
            passed.refuse(path, error.detail, error.code)
            continue
        except ServerError as error:
            if not error.code:
                raise  # the next photo would fare no better
            passed.refuse(path, error.detail, error.code)
            continue
        classes = part["classes"]
        labels = [one["label"] for one in classes if one["label"] is not None]
        found = {"class_ids": [one["class_id"] for one in classes], "scores": [one["score"] for one in classes]}
        answers.append({**found, "label_names": labels, "filename": shown(path)})
    if as_json:
        click.echo(json.dumps(answers, ensure_ascii=False, indent=2))
    elif answers:
        _print_table(answers, f"the classifier of {server.url}")
    passed.report()
    sys.exit(1 if passed.bad else 0)


def _of_service(url: str) -> str:
    """`url`. Raises UsageError for options about this machine's models where a service does it."""
    for option in ("model", "network", "class_map", "engine", "threads"):
        if given(option):
            name = option.replace("_", "-")
            raise click.UsageError(f"--{name} has no effect with --server: the service's workers have theirs")
    return url


def _folder(model: str, network: str | None) -> Path:
    """The folder of the model; weights are exported first. Raises ModelError."""
    if Path(model).suffix != SUFFIX and network is not None:
        raise click.UsageError("--network goes with .pdparams weights; other models say themselves what they are")
    return model_folder(model, "classify", network)


def _batches(paths: Iterator[Path]) -> Iterator[list[Path]]:
    while some := list(islice(paths, BATCH)):
        yield some


def _read(paths: Sequence[Path]) -> "tuple[list[tuple[Path, NDArray[np.uint8]]], list[str]]":
    """The pictures that can be read, and a line for each that can't."""
    read, report = [], []
    for path in paths:
        try:
            read.append((path, decode(path.read_bytes())))
        except ModelError as error:
            report.append(f"{shown(path)}: {error.detail} ({error.code})")
        except OSError as error:
            report.append(f"{shown(path)}: {error.strerror}")
    return read, report


def _print_table(answers: Sequence[Mapping[str, Any]], title: str) -> None:
    table = Table(title=title)
    for column, side in (("picture", "left"), ("class", "right"), ("label", "left"), ("score", "right")):
        table.add_column(column, justify="right" if side == "right" else "left", overflow="fold")
    for answer in answers:
        labels = answer["label_names"] or [""] * len(answer["class_ids"])
        for i, (class_id, label, score) in enumerate(zip(answer["class_ids"], labels, answer["scores"], strict=True)):
            name = answer["filename"] if i == 0 else ""
            table.add_row(Text(name), str(class_id), Text(label), f"{score:.5f}", end_section=i + 1 == len(labels))
    print_table(table)
