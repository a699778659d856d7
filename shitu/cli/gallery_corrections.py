"""`shitu gallery rename | merge | move`: corrections of a gallery in the store, or through a service (`--server`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from contracts.names import LabelRefused, clean_label
from infra.galleries.corrections import move as move_items
from infra.galleries.corrections import rename_item, rename_labels
from infra.galleries.store import GalleryStore
from infra.objects.opening import open_store
from infra.runtime.settings import load_settings
from shitu.cli.galleries import calibrate_with, writing_store
from shitu.cli.options import EMBEDDER, GALLERY_NAME, SERVER, examples
from shitu.cli.progress import working
from shitu.cli.server import Server
from shitu.cli.terminal import errors, given

if TYPE_CHECKING:
    from collections.abc import Sequence


class Label(click.ParamType[str]):
    """A label by the one rule."""

    name = "label"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Fails for one that breaks the rule."""
        try:
            return clean_label(value)
        except LabelRefused as error:
            self.fail(str(error), param, ctx)


@click.command(
    epilog=examples(
        "gallery rename drinks --label cola --new-label 'Coca-Cola'",
        "gallery rename drinks --item itm_5a8b9c0d1e2f3a4b5c6d7e8f --new-label cola --server http://127.0.0.1:8000",
    )
)
@GALLERY_NAME
@click.option("--label", help="The label to rename, of all its items.")
@click.option("--item", help="The item of this id, alone; its id changes.")
@click.option("--new-label", type=Label(), required=True, help="The new name.")
@EMBEDDER
@SERVER
def rename(name: str, label: str | None, item: str | None, new_label: str, embedder: str, server: str | None) -> None:
    """Rename a label of the gallery NAME, or give one item another label.

    A label that there is already is refused; `shitu gallery merge` makes two labels one. With --item the probabilities are
    fitted again by --embedder, if it is the one that made the gallery.
    """
    if (label is None) == (item is None):
        raise click.UsageError("name what to rename: --label or --item")
    if server is not None:
        _refuse_embedder()
        items = f"/galleries/{quote(name, safe='')}/items"
        if item is not None:
            done = Server(server).patch(f"{items}/{quote(item, safe='')}", {"label": new_label})
        else:
            done = Server(server).patch(items, {"label": new_label}, label=label)
        _print_renamed(name, new_label, done["changed"], done["duplicates"], done["version"], done["item_count"])
        return
    with errors():
        store = _opened()
        with working("Renaming"):
            if item is not None:
                renamed = rename_item(store, name, item, new_label, calibrate_with(store.manifest(name), embedder))
            else:
                renamed = rename_labels(store, name, [label or ""], new_label)
    version, count = renamed.manifest.version, renamed.manifest.item_count
    _print_renamed(name, new_label, len(renamed.changed), renamed.duplicates, version, count)


@click.command(
    epilog=examples(
        "gallery merge drinks --label cola --label 'coca cola' --into 'Coca-Cola'",
        "gallery merge drinks --label cola --into 'Coca-Cola' --server http://127.0.0.1:8000",
    )
)
@GALLERY_NAME
@click.option("--label", "labels", multiple=True, required=True, help="A label to merge; may be repeated.")
@click.option("--into", type=Label(), required=True, help="The label that they become, be there such a label or not.")
@EMBEDDER
@SERVER
def merge(name: str, labels: tuple[str, ...], into: str, embedder: str, server: str | None) -> None:
    """Merge labels of the gallery NAME: their items bear one label then. If one of those is not there, nothing is changed.

    The probabilities are fitted again by --embedder, if it is the one that made the gallery.
    """
    if server is not None:
        _refuse_embedder()
        items = f"/galleries/{quote(name, safe='')}/items"
        done = Server(server).patch(items, {"label": into, "merge": True}, label=list(labels))
        _print_renamed(name, into, done["changed"], done["duplicates"], done["version"], done["item_count"])
        return
    with errors():
        store = _opened()
        with working("Merging the labels, and fitting the probabilities again"):
            calibrate = calibrate_with(store.manifest(name), embedder)
            merged = rename_labels(store, name, labels, into, merge=True, calibrate=calibrate)
    version, count = merged.manifest.version, merged.manifest.item_count
    _print_renamed(name, into, len(merged.changed), merged.duplicates, version, count)


@click.command(
    epilog=examples(
        "gallery move drinks --label crisps --into snacks",
        "gallery move drinks --item itm_5a8b9c0d1e2f3a4b5c6d7e8f --into snacks --server http://127.0.0.1:8000",
    )
)
@GALLERY_NAME
@click.option("--label", "labels", multiple=True, help="All items of this label; may be repeated.")
@click.option("--item", "items", multiple=True, help="The item of this id; may be repeated.")
@click.option("--into", required=True, help="The gallery that takes them; of the same embedder, or empty.")
@EMBEDDER
@SERVER
def move(
    name: str, labels: tuple[str, ...], items: tuple[str, ...], into: str, embedder: str, server: str | None
) -> None:
    """Move items of the gallery NAME to another gallery. If one of them is not there, none is moved.

    They are added there first, then removed here: if that is interrupted, repeat the command. The probabilities of both are
    fitted again by --embedder, if it is the one that made them.
    """
    if not labels and not items:
        raise click.UsageError("name what to move: --label or --item")
    if server is not None:
        _refuse_embedder()
        done = _moved(Server(server), name, labels, items, into)
        sides = [(side["name"], side["version"], side["item_count"]) for side in (done["source"], done["target"])]
        _print_moved(done["moved"], done["duplicates"], sides)
        return
    with errors():
        store = _opened()
        with working("Moving the items, and fitting the probabilities again"):
            calibrate = calibrate_with(store.manifest(name), embedder)
            moved = move_items(store, name, into, items, labels, calibrate)
    sides = [(side.name, side.version, side.item_count) for side in (moved.source, moved.target)]
    _print_moved(moved.moved, moved.duplicates, sides)


def _moved(server: Server, name: str, labels: Sequence[str], items: Sequence[str], into: str) -> dict[str, Any]:
    """What a service did. It makes a version of each request, so that what must go together has to be in one."""
    if len(labels) > 1 or (items and labels):
        raise click.UsageError(
            "with --server name one --label, or only --item: what else goes together needs the store"
        )
    what: dict[str, Any] = {"item_ids": list(items)} if items else {"label": labels[0]}
    return server.post(f"/galleries/{quote(name, safe='')}/items/move", json={"to": into, **what})


def _opened() -> GalleryStore:
    settings = load_settings()
    return writing_store(settings, open_store(settings.objects, settings.data_dir))


def _refuse_embedder() -> None:
    if given("embedder"):
        raise click.UsageError("--embedder has no effect with --server: the service's workers have theirs")


def _print_renamed(name: str, label: str, changed: int, duplicates: int, version: int, count: int) -> None:
    there = f", {duplicates} were there already" if duplicates else ""
    click.echo(f"{changed} items of {name!r} are {label!r} now{there}; version {version} has {count}")


def _print_moved(moved: int, duplicates: int, sides: Sequence[tuple[str, int, int]]) -> None:
    there = f", {duplicates} were there already" if duplicates else ""
    versions = ", ".join(f"version {version} of {name!r} has {count}" for name, version, count in sides)
    click.echo(f"{moved} items moved{there}; {versions}")
