"""Galleries as commands meet them: those of this machine's store, or those of a service (`--server`)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import click

from contracts.filters import filters_of, meets
from contracts.names import readable_label
from infra.errors.galleries import GalleryNotFound
from infra.galleries.deleted import all_deleted
from infra.galleries.deleted import restore as restore_gallery
from infra.galleries.indexes import described
from infra.galleries.milvus import open_milvus
from infra.galleries.store import GalleryLock, GalleryStore
from infra.jobs.records import isoformat
from infra.objects.local import LocalStore
from infra.objects.opening import open_store
from infra.runtime.settings import load_settings
from shitu.cli.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from contracts.indexes import IndexChoice
    from infra.galleries.calibration import Calibrate
    from infra.galleries.reader import GalleryReader
    from infra.galleries.store import Added, GalleryManifest, Item
    from infra.objects.store import ObjectStore
    from infra.runtime.settings import Settings

Json = dict[str, Any]


class Galleries(Protocol):
    """Where galleries are; all that is returned is JSON as in docs/api.md, without the links."""

    def all(self) -> list[Json]:
        """The versions in force of all galleries."""

    def one(self, name: str, version: int | None = None) -> Json:
        """A version of one."""

    def items(self, name: str, version: int | None, label: str | None, filters: Sequence[str] = ()) -> list[Json]:
        """Its items, of one label or all, with this metadata or any."""

    def create(self, name: str, index: IndexChoice | None, embedder: str | None = None) -> Json:
        """Makes an empty gallery, of this embedder; None: its first pictures decide."""

    def choose_index(self, name: str, index: IndexChoice) -> Json:
        """A version that is searched so."""

    def versions(self, name: str) -> list[Json]:
        """The versions that are kept, oldest first, each with `current` and `staged`."""

    def activate(self, name: str, version: int) -> Json:
        """Puts a version in force."""

    def delete(self, name: str) -> None:
        """Deletes the gallery; it can be restored for a while."""

    def deleted(self) -> list[Json]:
        """Those that can be restored, in the order of their deletion."""

    def restore(self, name: str, generation: str | None) -> Json:
        """Puts a deleted gallery in force again."""


class Stored:
    """The galleries of the store that the settings name."""

    def __init__(self) -> None:
        self.settings = load_settings()
        self.folder = self.settings.data_dir
        self.objects = open_store(self.settings.objects, self.settings.data_dir)
        self.store = GalleryStore(
            self.objects, milvus=open_milvus(self.settings.milvus)
        )  # to read; changes take the lock

    def all(self) -> list[Json]:
        return [describe(self.store.manifest(name), self.store) for name in self.store.names()]

    def one(self, name: str, version: int | None = None) -> Json:
        with self._known(name):
            return describe(self.store.manifest(name, version), self.store)

    def items(self, name: str, version: int | None, label: str | None, filters: Sequence[str] = ()) -> list[Json]:
        with self._known(name):
            items = self.store.items(name, version)
        wanted = None if label is None else readable_label(label)
        met = filters_of(filters)
        return [describe_item(item) for item in items if wanted in (None, item.label) and meets(item.metadata, met)]

    def create(self, name: str, index: IndexChoice | None, embedder: str | None = None) -> Json:
        from models.artifacts.folders import resolve
        from models.embedder import identity_of

        kept = None if index is None else index.to_dict()
        worker = self.settings.worker
        digest = None if embedder is None else identity_of(resolve(embedder), worker.engine, worker.precision).digest
        return describe(writing_store(self.settings, self.objects).create(name, digest, index=kept), self.store)

    def choose_index(self, name: str, index: IndexChoice) -> Json:
        with self._known(name):
            done = writing_store(self.settings, self.objects).choose_index(name, index.to_dict())
        return describe(done, self.store)

    def versions(self, name: str) -> list[Json]:
        with self._known(name):
            current = self.store.manifest(name).version
            staged = self.store.staged(name)
            known = [self.store.manifest(name, version) for version in self.store.versions(name)]
        return [
            {**describe(one, self.store), "current": one.version == current, "staged": one.version in staged}
            for one in known
        ]

    def activate(self, name: str, version: int) -> Json:
        with self._known(name):
            return describe(writing_store(self.settings, self.objects).activate(name, version), self.store)

    def delete(self, name: str) -> None:
        with self._known(name):
            writing_store(self.settings, self.objects).delete(name)

    def deleted(self) -> list[Json]:
        names = ("name", "generation", "version", "item_count", "embedder_digest", "deleted_at")
        keep_s = self.settings.galleries.keep_deleted_s
        return [
            {**{name: getattr(one, name) for name in names}, "purge_at": isoformat(one.deleted_s + keep_s)}
            for one in all_deleted(self.store)
        ]

    def restore(self, name: str, generation: str | None) -> Json:
        return describe(restore_gallery(writing_store(self.settings, self.objects), name, generation), self.store)

    @contextmanager
    def _known(self, name: str) -> Iterator[None]:
        try:
            yield
        except GalleryNotFound as error:
            raise GalleryNotFound(error.detail + did_you_mean(name, self.store.names())) from error


class Served:
    """The galleries of a running service."""

    def __init__(self, url: str) -> None:
        from shitu.cli.server import Server

        self.server = Server(url)

    def all(self) -> list[Json]:
        return [_without_links(one) for one in self.server.get("/galleries")["galleries"]]

    def one(self, name: str, version: int | None = None) -> Json:
        if version is None:
            return _without_links(self.server.get(f"/galleries/{quote(name)}"))
        found = [one for one in self.versions(name) if one["version"] == version]
        if not found:
            raise click.ClickException(f"The gallery {name!r} has no version {version}. (gallery_version_not_found)")
        return {key: value for key, value in found[0].items() if key not in {"current", "staged"}}

    def items(self, name: str, version: int | None, label: str | None, filters: Sequence[str] = ()) -> list[Json]:
        return [_without_links(one) for one in self.server.items(name, version, label, filters)]

    def create(self, name: str, index: IndexChoice | None, embedder: str | None = None) -> Json:
        chosen = {} if embedder is None else {"embedder": embedder}
        sent = {"name": name, **chosen, **({} if index is None else {"index": _sent(index)})}
        return _without_links(self.server.post("/galleries", json=sent))

    def choose_index(self, name: str, index: IndexChoice) -> Json:
        return _without_links(self.server.patch(f"/galleries/{quote(name)}", {"index": _sent(index)}))

    def versions(self, name: str) -> list[Json]:
        report = self.server.get(f"/galleries/{quote(name)}/versions")
        return [{**_without_links(one), "current": one["version"] == report["current"]} for one in report["versions"]]

    def activate(self, name: str, version: int) -> Json:
        return _without_links(self.server.post(f"/galleries/{quote(name)}/versions/{version}/activate"))

    def delete(self, name: str) -> None:
        self.server.delete(f"/galleries/{quote(name)}")

    def deleted(self) -> list[Json]:
        return [_without_links(one) for one in self.server.get("/galleries", deleted="true")["galleries"]]

    def restore(self, name: str, generation: str | None) -> Json:
        query = {} if generation is None else {"generation": generation}
        return _without_links(self.server.post(f"/galleries/{quote(name)}/restore", **query))


def opened(server: str | None) -> Galleries:
    """The service's galleries, or without one those of the store. Raises ServiceError."""
    return Stored() if server is None else Served(server)


def writing_store(settings: Settings, objects: ObjectStore) -> GalleryStore:
    """With the lock of the service's Redis, if it is named; within one folder the files' own lock is enough.

    Raises ServiceError, and ClickException for a bucket without a Redis.
    """
    milvus = open_milvus(settings.milvus)
    if settings.redis_url is not None:
        from infra.redis.client import open_client
        from infra.stack.installation import verify

        verify(settings)
        return GalleryStore(objects, GalleryLock(open_client(settings)), milvus)
    if not isinstance(objects, LocalStore):
        raise click.ClickException("set REDIS_URL to the service's Redis: it keeps the writers of a bucket apart")
    return GalleryStore(objects, milvus=milvus)


def print_added(name: str, done: Added) -> None:
    """Prints what an addition to the store did."""
    added, there = len(done.added_ids), len(done.duplicate_ids)
    print_counts(name, added, there, done.manifest.version, done.manifest.item_count)
    if done.completed:
        click.echo(f"{done.completed} of them took the place of items that had come without their pictures")


def print_counts(name: str, added: int, duplicates: int, version: int, item_count: int) -> None:
    """Prints how many items an addition brought, and what the gallery has now."""
    there = f", {duplicates} were there already" if duplicates else ""
    click.echo(f"{added} items added to {name!r}{there}; version {version} has {item_count}")


def calibrate_with(manifest: GalleryManifest, embedder: str) -> Calibrate | None:
    """What fits the gallery again; None with another embedder than its own, which knows nothing of its vectors."""
    from models.artifacts.folders import resolve
    from models.embedder import Embedder
    from models.enrolment import calibrator

    network = Embedder(resolve(embedder), threads=1)
    return calibrator(network) if network.digest == manifest.embedder_digest else None


def describe(manifest: GalleryManifest, store: GalleryReader) -> Json:
    """A version of a gallery as JSON."""
    names = ("name", "version", "item_count", "created_at", "embedder_digest", "dim")
    return {**{name: getattr(manifest, name) for name in names}, "index": described(store, manifest)}


def describe_item(item: Item) -> Json:
    """An item as JSON."""
    report = {name: getattr(item, name) for name in ("id", "label", "sha256", "box", "added_at")}
    return {**report, "metadata": dict(item.metadata)}


def _sent(index: IndexChoice) -> Json:
    """As a request says it."""
    report = index.to_dict()
    return report if index.binary else {name: value for name, value in report.items() if name != "rerank"}


def _without_links(report: Json) -> Json:
    return {name: value for name, value in report.items() if name != "links"}
