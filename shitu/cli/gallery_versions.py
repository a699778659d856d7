"""`shitu gallery list | show | versions | activate | delete | restore`: what prints whole galleries and changes what is in force."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING

import click
from rich.table import Column, Table
from rich.text import Text

from shitu.cli.galleries import opened
from shitu.cli.options import FILTER, GALLERY_NAME, JSON, SERVER, VERSION, examples
from shitu.cli.progress import working
from shitu.cli.tables import print_table
from shitu.cli.terminal import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shitu.cli.galleries import Json

SHOWN_DIGEST = 12  # characters of an embedder's digest in a table


@click.command(
    "list", epilog=examples("gallery list", "gallery list --json", "gallery list --server http://127.0.0.1:8000")
)
@click.option("--deleted", is_flag=True, help="Those that were deleted and can be restored.")
@JSON
@SERVER
def list_galleries(deleted: bool, as_json: bool, server: str | None) -> None:
    """List all galleries: version in force, items, and the embedder that made them."""
    with errors(), working("Reading the galleries"):
        galleries = opened(server)
        found = galleries.deleted() if deleted else galleries.all()
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
    elif deleted:
        table = Table(
            Column("gallery", no_wrap=True),
            Column("items", justify="right"),
            "deleted",
            "purged from",
            Column("generation", no_wrap=True),
        )
        for one in found:
            table.add_row(
                one["name"], str(one["item_count"]), one["deleted_at"], one["purge_at"] or "", one["generation"]
            )
        print_table(table)
    elif found:
        _print_versions(found, "name")
    else:
        click.echo("There are no galleries. `shitu gallery add FOLDER --gallery NAME` makes one.", err=True)


@click.command(epilog=examples("gallery show drinks", "gallery show drinks --items --label 'Green tea'", "gallery show drinks --version 3 --json"))  # fmt: skip
@GALLERY_NAME
@VERSION
@click.option("--items", "with_items", is_flag=True, help="List the items too, with their ids.")
@click.option("--label", help="Only the items of this label.")
@FILTER
@JSON
@SERVER
def show(
    name: str,
    version: int | None,
    with_items: bool,
    label: str | None,
    filters: tuple[str, ...],
    as_json: bool,
    server: str | None,
) -> None:
    """Show the gallery NAME: what is in it, by label."""
    with errors(), working(f"Reading {name!r}"):
        galleries = opened(server)
        about = galleries.one(name, version)
        items = galleries.items(name, about["version"], label, filters)
    labels = dict(sorted(Counter(item["label"] for item in items).items()))
    if as_json:
        report = {**about, "labels": labels, **({"items": items} if with_items else {})}
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
        return
    _print_versions([about], "name")
    click.echo(index_line(about))
    table = Table(Column("label", overflow="fold"), Column("items", justify="right"))
    for one, count in labels.items():
        table.add_row(Text(one), str(count))
    if with_items:
        table = Table(Column("item", no_wrap=True), Column("label", overflow="fold"), "box", "added")
        for item in items:
            box = "" if item["box"] is None else ", ".join(map(str, item["box"]))
            table.add_row(item["id"], Text(item["label"]), box, item["added_at"])
    if items:
        print_table(table)


@click.command(epilog=examples("gallery versions drinks", "gallery versions drinks --staged", "gallery versions drinks --json"))  # fmt: skip
@GALLERY_NAME
@click.option("--staged", is_flag=True, help="Only those that never were in force.")
@JSON
@SERVER
def versions(name: str, staged: bool, as_json: bool, server: str | None) -> None:
    """List the kept versions of the gallery NAME: the current one, staged ones, and those before; each can be activated."""
    with errors(), working(f"Reading the versions of {name!r}"):
        found = [one for one in opened(server).versions(name) if one["staged"] or not staged]
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        _print_versions(found, "current")


@click.command(epilog=examples("gallery activate drinks 3"))
@GALLERY_NAME
@click.argument("version", type=click.IntRange(1))
@SERVER
def activate(name: str, version: int, server: str | None) -> None:
    """Activate VERSION of the gallery NAME, an older or a newer one: it is searched from the next job on."""
    with errors(), working("Activating"):
        done = opened(server).activate(name, version)
    click.echo(f"version {done['version']} of {name!r} is in force; it has {done['item_count']}")


@click.command(epilog=examples("gallery delete drinks", "gallery delete drinks --yes"))
@GALLERY_NAME
@click.option("--yes", is_flag=True, help="Delete without confirmation.")
@SERVER
def delete(name: str, yes: bool, server: str | None) -> None:
    """Delete the gallery NAME with all its versions. `shitu gallery restore` brings it back until it is purged."""
    with errors():
        galleries = opened(server)
        if not yes:
            about = galleries.one(name)
            if not sys.stdin.isatty():
                raise click.UsageError("standard input is no terminal to confirm at; pass --yes to delete it")
            click.confirm(f"Delete {name!r}, {about['item_count']} items, with all its versions?", abort=True, err=True)
        with working(f"Deleting {name!r}"):
            galleries.delete(name)
    click.echo(f"{name!r} is deleted")


@click.command(epilog=examples("gallery restore drinks", "gallery restore drinks --generation 0123456789ab"))
@GALLERY_NAME
@click.option("--generation", help="Which of several deleted galleries of this name; the one deleted last without it.")
@SERVER
def restore(name: str, generation: str | None, server: str | None) -> None:
    """Restore the deleted gallery NAME with all its versions; `shitu gallery list --deleted` names those there are."""
    with errors(), working(f"Restoring {name!r}"):
        done = opened(server).restore(name, generation)
    click.echo(f"{name!r} is restored; version {done['version']} has {done['item_count']}")


def index_line(about: Json) -> str:
    """How a gallery is searched, in one line."""
    index = about["index"]
    fused = f", fused by {index.get('fuse_by') or 'label'}" if index.get("fuse") else ""
    chosen = f"{index['index_method']}, {index['dist_type']}{fused}"
    if index["state"] == "building":
        return f"index: {index['in_use']} ({chosen}); another is being built"
    recall = "" if index["recall_at_1"] is None else f", recall@1 {index['recall_at_1']:.3f}"
    some = f", {index['indexed_items']} of {about['item_count']} items indexed" if index["indexed_items"] else ""
    return f"index: {index['in_use']} ({chosen}){recall}{some}"


def _print_versions(found: Sequence[Json], first: str) -> None:
    """A table of versions; the first column is the gallery's name, or marks the one in force and the staged ones."""
    table = Table(
        Column("gallery" if first == "name" else "", no_wrap=True), Column("version", justify="right"),
        Column("items", justify="right"), Column("dimensions", justify="right"), "embedder", "made",
    )  # fmt: skip
    for one in found:
        mark = one["name"] if first == "name" else "current" if one["current"] else "staged" if one["staged"] else ""
        digest = (one["embedder_digest"] or "")[:SHOWN_DIGEST]
        table.add_row(
            mark, str(one["version"]), str(one["item_count"]), str(one["dim"] or ""), digest, one["created_at"]
        )
    print_table(table)
