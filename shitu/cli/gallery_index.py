"""`shitu gallery create` and `index`: how a gallery is searched, chosen when it is made or later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from contracts.indexes import DISTANCES, METHODS, MOST_RERANK, RERANK, IndexChoice
from shitu.cli.galleries import Stored, opened
from shitu.cli.gallery_versions import index_line
from shitu.cli.options import GALLERY_NAME, JSON, SERVER, examples
from shitu.cli.progress import working
from shitu.cli.terminal import errors, given

if TYPE_CHECKING:
    from contracts.indexes import DistType, IndexMethod

METHOD = click.option(
    "--index-method",
    type=click.Choice(METHODS),
    default="auto",
    show_default=True,
    help="auto: by the number of items.",
)
DISTANCE = click.option(
    "--dist-type",
    type=click.Choice(DISTANCES),
    default="IP",
    show_default=True,
    help="L2 orders as IP does; hamming searches binary codes.",
)
RANKED = click.option(
    "--rerank",
    type=click.IntRange(0, MOST_RERANK),
    default=RERANK,
    show_default=True,
    help="With hamming: so many of the nearest codes are put in order by their embeddings.",
)
FUSED = click.option(
    "--fuse/--no-fuse",
    default=False,
    show_default=True,
    help="One vector for each label, the mean of its pictures'.",
)
FUSED_BY = click.option(
    "--fuse-by",
    metavar="KEY",
    help="With --fuse: one for the items of a label with the same value of this metadata.",
)


@click.command(epilog=examples("gallery create drinks", "gallery create drinks --embedder ppshitu-v2-embedder", "gallery create drinks --dist-type hamming --rerank 50"))  # fmt: skip
@GALLERY_NAME
@click.option("--embedder", help="Name or folder of the one that it belongs to, with --server one of the workers'; default: that of its first pictures.")  # fmt: skip
@METHOD
@DISTANCE
@RANKED
@FUSED
@FUSED_BY
@JSON
@SERVER
def create(
    name: str,
    embedder: str | None,
    index_method: IndexMethod,
    dist_type: DistType,
    rerank: int,
    fuse: bool,
    fuse_by: str | None,
    as_json: bool,
    server: str | None,
) -> None:
    """Create the empty gallery NAME. It belongs to one embedder: to --embedder, or to that of its first pictures."""
    choice = _chosen(index_method, dist_type, rerank, fuse, fuse_by)
    with errors(), working(f"Creating {name!r}"):
        about = opened(server).create(name, choice if _given() else None, embedder)
    _notify(about, as_json, f"{name!r} is created")


@click.command(epilog=examples("gallery index drinks", "gallery index drinks --index-method HNSW32", "gallery index drinks --fuse", "gallery index drinks --build"))  # fmt: skip
@GALLERY_NAME
@METHOD
@DISTANCE
@RANKED
@FUSED
@FUSED_BY
@click.option("--build", is_flag=True, help="Build what is missing here and now; without it the keeper does.")
@JSON
@SERVER
def index(
    name: str,
    index_method: IndexMethod,
    dist_type: DistType,
    rerank: int,
    fuse: bool,
    fuse_by: str | None,
    build: bool,
    as_json: bool,
    server: str | None,
) -> None:
    """Show how the gallery NAME is searched, choose another way, or build its index.

    The choice is a new version, so that it can be undone. Until an index is built the search is exact.
    """
    if build and server is not None:
        raise click.UsageError("--build has no effect with --server: the service's keeper builds")
    choice = _chosen(index_method, dist_type, rerank, fuse, fuse_by)
    with errors():
        galleries = opened(server)
        if _given():
            with working("Choosing the index"):
                galleries.choose_index(name, choice)
        about = galleries.one(name)
        if build and isinstance(galleries, Stored):
            from infra.galleries.segments import SegmentFiles
            from worker.index_builder import CACHE, build_missing

            with working("Building the index"):
                build_missing(galleries.store, SegmentFiles(galleries.store, galleries.folder / CACHE), name)
            about = galleries.one(name)
    _notify(about, as_json, f"version {about['version']} of {name!r} has {about['item_count']}")


def _given() -> bool:
    """Whether somebody chose."""
    return any(map(given, ("index_method", "dist_type", "fuse")))


def _chosen(
    index_method: IndexMethod, dist_type: DistType, rerank: int, fuse: bool, fuse_by: str | None
) -> IndexChoice:
    if given("rerank") and dist_type != "hamming":
        raise click.UsageError("--rerank goes with --dist-type hamming alone")
    if fuse_by is not None and not fuse:
        raise click.UsageError("--fuse-by goes with --fuse alone")
    try:
        return IndexChoice(index_method, dist_type, rerank, fuse, fuse_by)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _notify(about: dict[str, Any], as_json: bool, line: str) -> None:
    if as_json:
        click.echo(json.dumps(about, ensure_ascii=False, indent=2))
    else:
        click.echo(line)
        click.echo(index_line(about))
