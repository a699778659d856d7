"""`shitu gallery`: galleries looked at and changed, in the store or through a service.

Folders of pictures are added and items removed here; the other commands have files of their own.
"""

from __future__ import annotations

import os
import pwd
import sys
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from infra.errors.galleries import GalleryNotFound
from infra.galleries.files import check_name
from infra.galleries.store import Item
from infra.objects.opening import open_store
from infra.runtime import audit
from infra.runtime.settings import load_settings
from models.errors import ImageError
from models.pictures.image import decode
from shitu.cli import (
    gallery_bundle,
    gallery_corrections,
    gallery_diff,
    gallery_erase,
    gallery_evaluate,
    gallery_feedback,
    gallery_import,
    gallery_index,
    gallery_lint,
    gallery_paddleclas,
    gallery_reembed,
    gallery_search,
    gallery_served,
    gallery_versions,
)
from shitu.cli.enrolled import Enrolled, add_enrolled, stored_item
from shitu.cli.galleries import calibrate_with, print_added, writing_store
from shitu.cli.options import EMBEDDER, GALLERY_NAME, PRESENT, SERVER, examples
from shitu.cli.options import gallery as gallery_option
from shitu.cli.progress import tracked, working
from shitu.cli.searched import Passed, labelled_photos
from shitu.cli.suggestions import Group
from shitu.cli.terminal import errors, given

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from infra.galleries.store import GalleryStore
    from infra.objects.store import ObjectStore
    from infra.runtime.settings import Settings
    from models.embedder import Embedder

HELD_PICTURES = 64  # decoded at once


@click.group(cls=Group, epilog=examples("gallery add my-pictures --gallery drinks", "gallery list"))
def gallery() -> None:
    """Show and change galleries, in this machine's store or (--server) through a service."""
    audit.act_as(f"user {_user()}")
    audit.show()


@gallery.command("add", epilog=examples("gallery add my-pictures --gallery drinks", "gallery add my-pictures --gallery drinks --server http://127.0.0.1:8000"))  # fmt: skip
@click.argument("folder", type=PRESENT)
@gallery_option("The gallery to add to; made if there is none.", required=True)
@click.option("--skip-near-duplicates", is_flag=True, help="Leave out what is nearly a picture of the same label.")
@EMBEDDER
@SERVER
def add(folder: Path, gallery: str, skip_near_duplicates: bool, embedder: str, server: str | None) -> None:
    """Add the pictures of FOLDER, which has a sub-folder for each label, or of a list file of paths and labels.

    What can't be used is reported and skipped; exit status 1. Adding again changes nothing.
    """
    if server is not None:
        if given("embedder"):
            raise click.UsageError(
                "--embedder has no effect with --server: a gallery has its own, which `shitu gallery create --embedder` chooses"
            )
        passed = Passed()
        gallery_served.add(server, gallery, labelled_photos(folder, passed), passed, skip=skip_near_duplicates)
        passed.report()
        sys.exit(1 if passed.bad else 0)
    from models.artifacts.folders import resolve
    from models.embedder import Embedder

    passed = Passed()
    with errors():
        check_name(gallery)  # before all the work
        pictures = labelled_photos(folder, passed)
        settings = load_settings()
        network = Embedder(resolve(embedder))
        objects = open_store(settings.objects, settings.data_dir)
        store = writing_store(settings, objects)
        read = _embedded(pictures, network, settings, objects, passed)
        if skip_near_duplicates:
            read = _without_near_duplicates(store, gallery, read)
        if read.items:
            with working("Adding the items, and fitting the probabilities"):
                added = add_enrolled(store, gallery, read, network)
            print_added(gallery, added)
    passed.report()
    sys.exit(1 if passed.bad else 0)


@gallery.command(
    "remove",
    epilog=examples(
        "gallery remove drinks --label 'Green tea'", "gallery remove drinks --label cola --server http://127.0.0.1:8000"
    ),
)
@GALLERY_NAME
@click.option("--label", "labels", multiple=True, help="All items of this label; may be repeated.")
@click.option("--item", "items", multiple=True, help="The item of this id; may be repeated.")
@EMBEDDER
@SERVER
def remove(name: str, labels: tuple[str, ...], items: tuple[str, ...], embedder: str, server: str | None) -> None:
    """Remove items of the gallery NAME by label or id. If one of those is not there, nothing is removed.

    The probabilities are fitted again by --embedder, if it is the one that made the gallery.
    """
    if not labels and not items:
        raise click.UsageError("name what to remove: --label or --item")
    if server is not None:
        if given("embedder"):
            raise click.UsageError(
                "--embedder has no effect with --server: a gallery has its own, which `shitu gallery create --embedder` chooses"
            )
        left = gallery_served.remove(server, name, items, labels)
        click.echo(f"version {left['version']} of {name!r} has {left['item_count']}")
        return
    with errors():
        settings = load_settings()
        store = writing_store(settings, open_store(settings.objects, settings.data_dir))
        with working("Removing the items, and fitting the probabilities again"):
            manifest = store.remove(name, items, labels, calibrate_with(store.manifest(name), embedder))
    click.echo(f"version {manifest.version} of {name!r} has {manifest.item_count}")


for command in (
    gallery_versions.list_galleries, gallery_versions.show, gallery_versions.versions, gallery_versions.activate, gallery_versions.delete,
    gallery_versions.restore, gallery_erase.erase,
    gallery_bundle.export, gallery_import.import_command, gallery_paddleclas.import_paddleclas,
    gallery_corrections.rename, gallery_corrections.merge, gallery_corrections.move,
    gallery_feedback.feedback, gallery_lint.lint, gallery_diff.diff, gallery_evaluate.evaluate,
    gallery_reembed.reembed, gallery_search.search,
    gallery_index.create, gallery_index.index,
):  # fmt: skip
    gallery.add_command(command)


def _user() -> str:
    """Who runs the command, as the system knows it: not what an environment variable says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user has a number alone
        return str(os.getuid())


def _without_near_duplicates(store: GalleryStore, name: str, read: Enrolled) -> Enrolled:
    """What is nearly an item of its own label, of the gallery or before it, is reported and left out."""
    from models.galleries.gallery import Gallery
    from models.galleries.near_duplicates import near_duplicates

    known: tuple[Sequence[Item], NDArray[np.float32]] = ((), np.zeros((0, 0), np.float32))
    with suppress(GalleryNotFound):
        known = store.load(name)[1:]
    near = near_duplicates(Gallery(*known), read.items, read.embeddings, skip=True)
    left = [at for at, one in enumerate(near) if one is None or not one.skipped]
    if len(left) < len(near):
        click.echo(f"{len(near) - len(left)} are nearly pictures of their label, and left out")
    return Enrolled(
        [read.items[at] for at in left],
        read.embeddings[left],
        None if read.views is None else read.views[left],
        None if read.features is None else [read.features[at] for at in left],
    )


def _embedded(
    pictures: Sequence[tuple[Path, str]], network: Embedder, settings: Settings, objects: ObjectStore, passed: Passed
) -> Enrolled:
    """What is kept of the pictures that can be used, under their folders' names; reports the others."""
    from models.enrolment import embed_views, packed_features

    limits, items, features = settings.images, list[Item](), list[bytes]()
    rows = [np.zeros((0, network.dim), np.float32)]
    views = list(rows)
    left = tracked(pictures, "Embedding")
    while group := list(islice(left, HELD_PICTURES)):
        images = []
        for path, label in group:
            try:
                data = path.read_bytes()
                images.append(decode(data, max_pixels=limits.max_pixels, min_side_px=limits.min_side_px))
            except OSError as error:
                passed.refuse(path, str(error.strerror), "unreadable")
            except ImageError as error:
                passed.refuse(path, f"{error.detail} ({error.code})", error.code)
            else:
                items.append(stored_item(label, data, objects))
                features.append(packed_features(images[-1]))
        rows.append(network(images))
        views.append(embed_views(images, [item.sha256 for item in items[len(items) - len(images) :]], network))
    return Enrolled(items, np.concatenate(rows), np.concatenate(views), features)
