"""Which embedders the workers have, as their heartbeats say: a web process loads none itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.errors.galleries import EmbedderMismatch, EmbedderUnknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.galleries.store import GalleryManifest
    from infra.jobs.ledger import JobLedger
    from infra.jobs.presence import WorkerInfo


def embedders_of(worker: WorkerInfo) -> dict[str, str]:
    """The names of a worker's embedders by their digests; the default first."""
    default = (worker.info.get("models") or {}).get("embedder")
    found = [*([default] if default else []), *worker.info.get("embedders", ())]
    return {one["digest"]: one["name"] for one in found}


def digest_named(ledger: JobLedger, embedder: str) -> str:
    """The digest of the embedder of this name or digest that a worker has. Raises EmbedderUnknown."""
    known = {digest: name for worker in ledger.presence.workers() for digest, name in embedders_of(worker).items()}
    found = next((digest for digest, name in known.items() if embedder in (name, digest)), None)
    if found is None:
        names = ", ".join(sorted(set(known.values()))) or "none, for none is ready"
        raise EmbedderUnknown(f"No worker has the embedder {embedder!r}; they have {names}.")
    return found


def require_embedders(ledger: JobLedger, manifests: Sequence[GalleryManifest]) -> None:
    """Raises EmbedderMismatch for galleries of several embedders that are to be searched together, if no ready worker has all.

    While none is ready that is for the worker to say that gets the job.
    """
    makers: dict[str, list[str]] = {}
    for manifest in manifests:
        if manifest.embedder_digest is not None:
            makers.setdefault(manifest.embedder_digest, []).append(manifest.name)
    if len(makers) < 2:
        return
    workers = ledger.presence.workers()
    if workers and not any(makers.keys() <= embedders_of(worker).keys() for worker in workers):
        groups = "; ".join(f"{', '.join(names)} by {digest[:12]}" for digest, names in makers.items())
        raise EmbedderMismatch(
            f"These galleries can't be searched together, for no worker has the embedders of all: {groups}."
        )
