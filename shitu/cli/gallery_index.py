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


@click.command(epilog=examples("gallery create drinks", "gallery create drinks --dist-type hamming --rerank 50"))
@GALLERY_NAME
@METHOD
@DISTANCE
@RANKED
@JSON
@SERVER
def create(
    name: str, index_method: IndexMethod, dist_type: DistType, rerank: int, as_json: bool, server: str | None
) -> None:
    """Create the empty gallery NAME; the embedder of its first pictures is its own from then on."""
    choice = _chosen(index_method, dist_type, rerank)
    chosen = given("index_method") or given("dist_type")
    with errors(), working(f"Creating {name!r}"):
        about = opened(server).create(name, choice if chosen else None)
    _tell(about, as_json, f"{name!r} is created")


@click.command(epilog=examples("gallery index drinks", "gallery index drinks --index-method HNSW32", "gallery index drinks --build"))  # fmt: skip
@GALLERY_NAME
@METHOD
@DISTANCE
@RANKED
@click.option("--build", is_flag=True, help="Build what is missing here and now; without it the keeper does.")
@JSON
@SERVER
def index(
    name: str,
    index_method: IndexMethod,
    dist_type: DistType,
    rerank: int,
    build: bool,
    as_json: bool,
    server: str | None,
) -> None:
    """Show how the gallery NAME is searched, choose another way, or build its index.

    The choice is a new version, so that it can be undone. Until an index is built the search is exact.
    """
    if build and server is not None:
        raise click.UsageError("--build has no effect with --server: the service's keeper builds")
    choice = _chosen(index_method, dist_type, rerank)
    with errors():
        galleries = opened(server)
        if given("index_method") or given("dist_type"):
            with working("Choosing the index"):
                galleries.choose_index(name, choice)
        about = galleries.one(name)
        if build and isinstance(galleries, Stored):
            from infra.galleries.segments import SegmentFiles
            from worker.index_builder import CACHE, build_missing

            with working("Building the index"):
                build_missing(galleries.store, SegmentFiles(galleries.store, galleries.folder / CACHE), name)
            about = galleries.one(name)
    _tell(about, as_json, f"version {about['version']} of {name!r} has {about['item_count']}")


def _chosen(index_method: IndexMethod, dist_type: DistType, rerank: int) -> IndexChoice:
    if given("rerank") and dist_type != "hamming":
        raise click.UsageError("--rerank goes with --dist-type hamming alone")
    return IndexChoice(index_method, dist_type, rerank)


def _tell(about: dict[str, Any], as_json: bool, line: str) -> None:
    if as_json:
        click.echo(json.dumps(about, ensure_ascii=False, indent=2))
    else:
        click.echo(line)
        click.echo(index_line(about))
