"""`shitu gallery diff`: what is different between two versions, in the store or through a service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
from rich.table import Column, Table
from rich.text import Text

from contracts.versions import CHANGES
from infra.galleries.changes import difference, labels_of
from shitu.cli.galleries import Stored
from shitu.cli.options import GALLERY_NAME, JSON, SERVER, examples
from shitu.cli.progress import working
from shitu.cli.server import PAGE, Server
from shitu.cli.tables import print_table
from shitu.cli.terminal import errors

if TYPE_CHECKING:
    from infra.galleries.files import Item


@click.command(epilog=examples("gallery diff drinks 3", "gallery diff drinks 3 5 --kind relabelled --json"))
@GALLERY_NAME
@click.argument("version", type=click.IntRange(1))
@click.argument("to", type=click.IntRange(1), required=False)
@click.option("--kind", type=click.Choice(CHANGES), help="Only changes of this kind.")
@JSON
@SERVER
def diff(name: str, version: int, to: int | None, kind: str | None, as_json: bool, server: str | None) -> None:
    """Compare VERSION of the gallery NAME with version TO, or with the one in force: items added, removed, relabelled."""
    with errors(), working("Comparing"):
        report = _of_store(name, version, to) if server is None else _of_service(Server(server), name, version, to)
    report["changes"] = [one for one in report["changes"] if kind in (None, one["kind"])]
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
        return
    if report["changes"]:
        table = Table(
            "change", Column("before", overflow="fold"), Column("after", overflow="fold"), Column("item", no_wrap=True)
        )
        for one in report["changes"]:
            before, after = one["before"], one["after"]
            table.add_row(one["kind"], _label(before), _label(after), (after or before)["id"])
        print_table(table)
    counts = ", ".join(f"{count} {what}" for what, count in report["counts"].items())
    click.echo(f"version {report['version']} to {report['to']} of {name!r}: {counts}")


def _of_store(name: str, version: int, to: int | None) -> dict[str, Any]:
    galleries = Stored()
    to = galleries.one(name, to)["version"]
    before, after = galleries.store.items(name, version), galleries.store.items(name, to)
    found = difference(before, after)
    return {
        "gallery": name,
        "version": version,
        "to": to,
        "counts": {**found.counts(), "unchanged": found.unchanged},
        "labels": [{"label": label, "before": was, "after": now} for label, was, now in labels_of(before, after)],
        "changes": [
            {"kind": one.kind, "sha256": one.item.sha256, "before": _item(one.before), "after": _item(one.after)}
            for one in found.changes
        ],
    }


def _of_service(server: Server, name: str, version: int, to: int | None) -> dict[str, Any]:
    path = f"/galleries/{quote(name, safe='')}/versions/{version}/diff"
    report = page = server.get(path, limit=PAGE, to=to)
    while page["next_after"] is not None:
        page = server.get(path, limit=PAGE, after=page["next_after"])
        report["changes"] += page["changes"]
    return {key: value for key, value in report.items() if key != "next_after"}


def _item(item: Item | None) -> dict[str, Any] | None:
    return None if item is None else {"id": item.id, "label": item.label, "box": item.box and list(item.box)}


def _label(item: dict[str, Any] | None) -> Text:
    return Text("" if item is None else item["label"])
