"""`shitu gallery import`: many pictures at once into a gallery, here or through a service; the same code does it."""

from __future__ import annotations

import json
import queue
import tempfile
import zipfile
from collections import Counter
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from contracts.imports import kind_of_file, kinds_of_files
from contracts.names import shown
from infra.errors.galleries import GalleryExists
from infra.galleries.files import check_name
from infra.galleries.staging import Stage
from infra.jobs.records import new_id
from infra.objects.local import LocalStore
from infra.objects.opening import open_store
from infra.runtime.settings import load_settings
from shitu.cli import gallery_bundle
from shitu.cli.galleries import print_counts, writing_store
from shitu.cli.options import EMBEDDER, JSON, PRESENT_FOLDER, SERVER, examples
from shitu.cli.options import gallery as gallery_option
from shitu.cli.progress import counted, working
from shitu.cli.terminal import errors, given

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from contracts.imports import ImportLine, ImportResult
    from contracts.options import Crop
    from infra.galleries.store import GalleryStore
    from infra.objects.store import ObjectStore
    from infra.runtime.settings import Settings
    from worker.imports.sources import Source
    from worker.runtime import Runtime

JOB_WITHIN_S = 86_400.0
S3 = "s3://"


@click.command(
    "import",
    epilog=examples(
        "gallery import drinks.zip --gallery drinks",
        "gallery import labels.csv --gallery drinks --root photos --stage",
        "gallery import index/vector.index index/id_map.pkl --gallery drinks --embedder ppshitu-v2-embedder --root drink_dataset_v2.0",
        "gallery import s3://shop-pictures/drinks --gallery drinks --server http://127.0.0.1:8000",
    ),
)
@click.argument("sources", nargs=-1, required=True)
@gallery_option("The gallery to add to, made if there is none; default: the one that was exported.")
@click.option("--root", type=PRESENT_FOLDER, help="Folder that the paths of a list or index are relative to; default: a list's own.")  # fmt: skip
@click.option(
    "--list", "list_name", metavar="NAME", help="Of a folder or s3:// place: the list in it that says the labels."
)
@click.option("--delimiter", help="Between the columns of a list: any text; it is found out without.")
@click.option("--crop", type=click.Choice(["whole", "main_body"]), default="whole", show_default=True, help="`main_body`: cut each picture to its most certain object.")  # fmt: skip
@click.option("--stage", is_flag=True, help="Make the version, and leave the one in force in force.")
@EMBEDDER
@JSON
@SERVER
def import_command(
    sources: tuple[str, ...],
    gallery: str | None,
    root: Path | None,
    list_name: str | None,
    delimiter: str | None,
    crop: str,
    stage: bool,
    embedder: str,
    as_json: bool,
    server: str | None,
) -> None:
    """Import SOURCES into a gallery as one version: a zip, a folder, a list, an index, an export, or an s3:// place.

    A zip or folder has a sub-folder of pictures for each label; a list has lines of path or URL and label; an index is
    vector.index with id_map.pkl or id_map.yaml. What can't be used is reported by its line and skipped; exit status 1.
    Importing again changes nothing.
    """
    if server is not None and given("embedder"):
        raise click.UsageError(
            "--embedder has no effect with --server: a gallery has its own, which `shitu gallery create --embedder` chooses"
        )
    options = {"delimiter": delimiter, "crop": crop, "activate": not stage}
    with errors():
        if server is None and _is_bundle(sources) and not stage:
            gallery_bundle.import_bundle(Path(sources[0]), gallery, embedder)
        name = check_name(gallery or _exported(sources))
        places = _Places(sources, root, list_name)
        if server is not None:
            result, rejected = _sent(server, name, places, options)
        else:
            result, rejected = _imported(name, places, embedder, options)
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        _notify(name, result)
    for line in rejected:
        why = line["error"] or {"message": "", "code": ""}
        click.echo(f"line {line['line']}: {shown(line['source'])}: {why['message']} ({why['code']})", err=True)
    if rejected:
        reported = ", ".join(f"{count} {code}" for code, count in result["reasons"].items())
        click.echo(f"{len(rejected)} could not be used: {reported}", err=True)
        raise click.exceptions.Exit(1)


class _Places:
    """What the command was given: files that belong together, or one place. Raises UsageError, ClickException."""

    def __init__(self, sources: Sequence[str], root: Path | None, list_name: str | None) -> None:
        self.place: str | None = None
        self.files: list[Path] = []
        self.root, self.list_name = root, list_name
        first = Path(sources[0])
        if len(sources) == 1 and (sources[0].startswith(S3) or first.is_dir()):
            if root is not None and not (first / "vector.index").is_file():
                raise click.UsageError("--root goes with a list or an index")
            if root is not None:
                maps = [
                    first / name
                    for name in ("id_map.pkl", "id_map.yaml", "index_info.yaml")
                    if (first / name).is_file()
                ]
                self.files = [first / "vector.index", *maps[:1]]
            else:
                self.place = sources[0]
                return
        else:
            self.files = [Path(one) for one in sources]
        if list_name is not None:
            raise click.UsageError("--list goes with a folder or an s3:// place")
        for file in self.files:
            if not file.is_file():
                raise click.ClickException(f"{shown(file)}: no such file")
        try:
            kinds = kinds_of_files([file.name for file in self.files])
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        if root is None and "list" in kinds and "archive" not in kinds:
            self.root = self.files[kinds["list"]].absolute().parent
        if root is not None and ("archive" in kinds or kinds.keys() <= {"archive"}):
            raise click.UsageError("--root goes with a list or an index without a zip")


def _is_bundle(sources: Sequence[str]) -> bool:
    from worker.imports.sources import is_bundle

    return len(sources) == 1 and kind_of_file(sources[0]) == "archive" and is_bundle(Path(sources[0]))


def _exported(sources: Sequence[str]) -> str:
    """The gallery that a bundle names. Raises UsageError for anything else."""
    if not _is_bundle(sources):
        raise click.UsageError("name the gallery: --gallery NAME")
    from infra.galleries import bundles

    with bundles.opened(Path(sources[0])) as file:
        return bundles.read(file).name


def _notify(name: str, result: ImportResult) -> None:
    counts, gallery = result["counts"], result["gallery"]
    print_counts(name, counts["added"], counts["duplicate"], gallery["version"], gallery["items"])
    if not result["activated"]:
        click.echo(f"it is staged: `shitu gallery activate {name} {gallery['version']}` puts it in force")
    checked = result.get("checked")
    if checked is not None and not checked["pictures"]:
        click.echo("the index came without pictures: whether this embedder built it, nobody knows", err=True)


# Here


def _imported(
    name: str, places: _Places, embedder: str, options: Mapping[str, Any]
) -> tuple[ImportResult, Sequence[ImportLine]]:
    from worker.imports.batch_maker import Wanted
    from worker.imports.importer import Importer

    settings = load_settings()
    objects = open_store(settings.objects, settings.data_dir)
    store = writing_store(settings, objects)
    notify = counted("Importing")

    def checkpoint(progress: dict[str, Any] | None = None) -> None:
        if progress is not None:
            notify(progress["done"], progress["total"])

    with _opened(places, options["delimiter"], settings) as source, tempfile.TemporaryDirectory() as folder:
        with working("Reading what there is"):
            source.lines()  # what can't be imported at all makes no gallery
        runtime = open_runtime(settings, objects, store, embedder, with_detector=options["crop"] != "whole")
        with suppress(GalleryExists):
            store.create(name)
        now = datetime.now(UTC)
        job_id = new_id("imp", now.timestamp())
        stage = Stage(LocalStore(Path(folder)), job_id)
        added_at = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        wanted = Wanted(job_id, name, added_at, options["crop"], options["activate"])
        result = Importer(wanted, source, stage, runtime, checkpoint).run()
        lines = cast("Sequence[ImportLine]", stage.report() or [])
    return result, [line for line in lines if line["status"] == "rejected"]


@contextmanager
def _opened(places: _Places, delimiter: str | None, settings: Settings) -> Iterator[Source]:
    from worker.imports.sources import opened_files, opened_place

    if places.place is not None:
        place = places.place if places.place.startswith(S3) else str(Path(places.place).absolute())
        with opened_place(place, places.list_name, delimiter, settings) as source:
            yield source
        return
    with opened_files([file.name for file in places.files], places.files, delimiter, settings, places.root) as source:
        yield source


def open_runtime(
    settings: Settings,
    objects: ObjectStore,
    store: GalleryStore,
    embedder: str,
    *,
    with_detector: bool,
    others: bool = False,
) -> Runtime:
    """What a worker has, with one set of networks; with `others` also the embedders that the settings name."""
    from dataclasses import replace

    from worker.embedders import open_embedders
    from worker.gallery_cache import GalleryCache
    from worker.runtime import NO_MODEL, Runtime, describe, load_programs

    detector = settings.worker.detector if with_detector else NO_MODEL
    programs = load_programs(replace(settings.worker, embedder=embedder, detector=detector, classifier=NO_MODEL))
    idle: queue.LifoQueue[Any] = queue.LifoQueue()
    idle.put(programs)
    runtime = Runtime(settings, objects, store, GalleryCache(store, 0), describe(programs), idle)
    if not others:
        return runtime
    worker = replace(settings.worker, embedders=(settings.worker.embedder, *settings.worker.embedders))
    return replace(runtime, embedders=open_embedders(worker, runtime.default_digest))


# Through a service


def _sent(
    server: str, name: str, places: _Places, options: Mapping[str, Any]
) -> tuple[ImportResult, Sequence[ImportLine]]:
    from shitu.cli.server import Server

    service = Server(server)
    service.made_gallery(name)
    crop = cast("Crop", options["crop"])
    notify = counted("Importing")

    def progress(job: Any) -> None:
        if job["progress"]:
            notify(job["progress"]["done"], job["progress"]["total"])

    if places.place is not None and places.place.startswith(S3):
        return service.imported(
            lambda client: client.galleries.import_from(
                name,
                places.place or "",
                list_name=places.list_name,
                crop=crop,
                activate=options["activate"],
                delimiter=options["delimiter"],
            ),
            progress,
            JOB_WITHIN_S,
        )
    with tempfile.TemporaryDirectory() as folder:
        with working("Packing"):
            files = _packed(places, Path(folder), options["delimiter"])
        return service.imported(
            lambda client: client.galleries.import_files(
                name, files, crop=crop, activate=options["activate"], delimiter=options["delimiter"]
            ),
            progress,
            JOB_WITHIN_S,
        )


def _packed(places: _Places, folder: Path, delimiter: str | None) -> list[Path]:
    """The files to send: a folder as a zip, and with a list or an index those of the root that it names."""
    from worker.imports.places import Folder
    from worker.imports.sources import Index, Listed

    if places.place is not None:
        root = Path(places.place).absolute()
        names = list(Folder(root, [Path("/")]).names())
        if places.list_name is None:
            return [_zipped(folder, root, names)]
        listed = root / places.list_name
        if not listed.is_file():
            raise click.ClickException(f"{shown(listed)}: no such file")
        places = _Places([str(listed)], root, None)
    if places.root is None:
        return places.files
    with _opened(places, delimiter, load_settings()) as source:
        if not isinstance(source, Listed | Index):
            return places.files
        wanted = Counter(line.at for line in source.lines() if line.at and not line.at.lower().startswith("http"))
    if not wanted:
        return places.files
    return [*places.files, _zipped(folder, places.root, list(wanted))]


def _zipped(folder: Path, root: Path, names: Sequence[str]) -> Path:
    packed = folder / "pictures.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as file:
        for name in names:
            with suppress(OSError):  # the service reports that it is not there
                file.writestr(name.encode("utf-8", "replace").decode(), (root / name).read_bytes())
    return packed
