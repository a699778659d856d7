"""`shitu gallery lint`: what a gallery has in it that is better mended, in the store or through a service.

Pictures with several objects are found by the detector, if that is requested: by the service's workers, or here with --detector.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
from rich.text import Text

from contracts.errors import ServiceError
from contracts.lint import KINDS, LEVELS, Lint
from infra.galleries.findings import WITHOUT_DETECTOR, counted, several_objects
from infra.galleries.lint import lint as lint_items
from infra.galleries.neighbours import Found, search
from infra.galleries.store import Item
from models.errors import ImageError
from models.pictures.image import crop, decode
from models.recognition.several_objects import separate_objects
from shitu.cli.galleries import Stored
from shitu.cli.options import DETECTOR, GALLERY_NAME, JSON, SERVER, VERSION, examples
from shitu.cli.progress import counted as counting
from shitu.cli.progress import tracked, working
from shitu.cli.searched import Passed
from shitu.cli.server import JOB_WITHIN_S, PAGE, Server, ServerError
from shitu.cli.terminal import errors, given

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.detector import Detector

BETWEEN_S = 0.2
TURN_S = 5.0  # of searching between two lines of progress
COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}


@click.command(
    epilog=examples(
        "gallery lint drinks",
        "gallery lint drinks --objects --level warning",
        "gallery lint drinks --json --server http://127.0.0.1:8000",
    )
)
@GALLERY_NAME
@VERSION
@click.option("--level", type=click.Choice(LEVELS), default="info", show_default=True, help="Show findings of this level and of worse ones.")  # fmt: skip
@click.option("--objects", is_flag=True, help="Look for pictures with several objects too, with --detector.")
@DETECTOR
@JSON
@SERVER
def lint(
    name: str, version: int | None, level: str, objects: bool, detector: str, as_json: bool, server: str | None
) -> None:
    """Find what makes the gallery NAME answer worse: wrong labels, duplicates, outliers, confusions; each with its fix.

    Exit status 1 if there is a finding of the level error, whatever --level shows.
    """
    if not objects and given("detector"):
        raise click.UsageError("--detector goes with --objects")
    if objects and detector == "none":
        raise click.UsageError("--objects needs a detector")
    passed = Passed()
    with errors():
        by_service = objects and server is not None and not given("detector")
        report = _of_store(name, version) if server is None else _of_service(Server(server), name, version, by_service)
        if objects and not by_service:
            _add_objects(report, _items(name, report, server), _detector(detector), passed)
    shown = LEVELS[: LEVELS.index(level) + 1]
    report["findings"] = [one for one in report["findings"] if one["level"] in shown]
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        _print(report, server)
    passed.report()
    if report["levels"]["error"] or passed.bad:
        raise click.exceptions.Exit(1)


def _of_store(name: str, version: int | None) -> Lint:
    galleries = Stored()
    galleries.one(name, version)  # a wrong name is reported with its like
    with working(f"Reading {name!r}"):
        manifest, items, embeddings = galleries.store.load(name, version)
    found, notify = Found.nothing(len(items)), counting("Comparing")
    labels = [item.label for item in items]
    while not found.complete:
        search(labels, embeddings, found, TURN_S)
        notify(int(found.done.sum()), len(items))
    findings = lint_items(name, items, embeddings, found)
    levels, kinds = counted(findings)
    return {
        "gallery": name,
        "version": manifest.version,
        "item_count": len(items),
        "checked_items": len(items),
        "complete": True,
        "levels": levels,
        "kinds": kinds,
        "findings": [one.to_dict(name) for one in findings],
        "skipped": [{"kind": "several_objects", "reason": WITHOUT_DETECTOR}],
    }


def _of_service(server: Server, name: str, version: int | None, objects: bool) -> Lint:
    """All pages of one version, once it has been searched whole."""
    path, notify = f"/galleries/{quote(name, safe='')}/lint", counting("Comparing")
    wanted = {"objects": "true"} if objects else {}
    report: Any = server.get(path, limit=PAGE, version=version, **wanted)
    checked, until = -1, 0.0
    while not report["complete"]:
        notify(report["checked_items"], report["item_count"])
        if report["checked_items"] != checked:
            checked, until = report["checked_items"], time.monotonic() + JOB_WITHIN_S
        if time.monotonic() > until:
            raise ServerError(f"The gallery was not checked within {JOB_WITHIN_S:.0f} s; is a worker running?")
        time.sleep(BETWEEN_S)  # a service that holds no more requests answers at once
        report = server.get(path, limit=PAGE, version=report["version"], **wanted)
    page = report
    while page["next_after"] is not None:
        page = server.get(path, limit=PAGE, after=page["next_after"], **wanted)
        report["findings"] += page["findings"]
    found: Lint = {key: value for key, value in report.items() if key != "next_after"}  # type: ignore[assignment]
    return found


def _items(name: str, report: Lint, server: str | None) -> Sequence[tuple[Item, Callable[[], bytes]]]:
    """The items of the version, and what reads the picture of each."""
    if server is None:
        stored = Stored()
        items = stored.store.items(name, report["version"])
        return [(item, partial(stored.objects.get, item.image_key)) for item in items]
    service, found = Server(server), []
    for one in service.items(name, report["version"], None):
        box = None if one["box"] is None else tuple(one["box"])
        item = Item(one["id"], one["label"], "", one["sha256"], box, one["added_at"])
        path = f"/galleries/{quote(name, safe='')}/items/{quote(item.id, safe='')}/image"
        found.append((item, partial(service.picture, path)))
    return found


def _detector(name: str) -> Detector:
    from models.artifacts.folders import resolve
    from models.detector import Detector

    return Detector(resolve(name))


def _add_objects(
    report: Lint, items: Sequence[tuple[Item, Callable[[], bytes]]], detect: Detector, passed: Passed
) -> None:
    """Adds the items whose picture shows several objects to `report`; pictures that can't be read are reported."""
    found = []
    for item, read in tracked(items, "Detecting"):
        place = Path(f"item {item.id}")
        try:
            picture = decode(read())
        except ImageError as error:
            passed.refuse(place, f"{error.detail} ({error.code})", error.code)
            continue
        except (ServiceError, ServerError) as error:
            if error.code not in {"object_not_found", "item_not_found"}:
                raise
            passed.refuse(place, f"its picture is not there ({error.code})", error.code)
            continue
        part = picture if item.box is None else crop(picture, item.box)
        objects = separate_objects(detect(part), part.shape[0] * part.shape[1])
        if len(objects) > 1:
            found.append(several_objects(report["gallery"], item, len(objects)).to_dict(report["gallery"]))
    findings = [*report["findings"], *found]
    levels = Counter(one["level"] for one in findings)
    kinds = Counter(one["kind"] for one in findings)
    report["findings"] = sorted(findings, key=lambda one: (LEVELS.index(one["level"]), KINDS.index(one["kind"])))
    report["levels"] = {"error": levels["error"], "warning": levels["warning"], "info": levels["info"]}
    report["kinds"] = {kind: kinds[kind] for kind in KINDS if kinds[kind]}
    report["skipped"] = []


def _print(report: Lint, server: str | None) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    where = "" if server is None else f" --server {server}"
    for one in report["findings"]:
        alike = "" if one["similarity"] is None else f", similarity {one['similarity']:.2f}"
        console.print(Text.assemble((one["level"], COLOURS[one["level"]]), f" {one['kind']}: {one['message']}"))
        console.print(Text(f"    {' '.join(item['id'] for item in one['items'])}{alike}"))
        console.print(Text(f"    {one['fix']['command']}{where}"))
    for skipped in report["skipped"]:
        why = "--objects" if skipped["reason"] == WITHOUT_DETECTOR else skipped["reason"]
        console.print(Text(f"not looked for: {skipped['kind']} ({why})"))
    counts = ", ".join(f"{report['levels'][level]} {level}" for level in LEVELS)
    console.print(Text(f"{counts}; version {report['version']} of {report['gallery']!r} has {report['item_count']}"))
