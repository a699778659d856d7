"""A gallery as one file to carry elsewhere: pictures, labels, embeddings and a manifest, and nothing that could be run.

A zip of uncompressed members: `manifest.json`, `items.jsonl`, `embeddings.npy`, where there are any `views.npy` and
`features.bin` (all as infra.galleries.files writes them), and `images/SHA256` for each picture that the store has. Every
member's SHA-256 is in the manifest or is its name.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.errors.galleries import GalleryCorrupt, ImportRefused
from infra.galleries.files import (
    GalleryManifest,
    Item,
    Segment,
    decode_embeddings,
    decode_features,
    decode_items,
    decode_views,
    encode_embeddings,
    encode_features,
    encode_items,
    encode_views,
)
from infra.galleries.keys import FEATURES, VIEWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

KIND, SCHEMA = "shitu-gallery", 1
MANIFEST = "manifest.json"
ITEMS, EMBEDDINGS = "items.jsonl", "embeddings.npy"
MEMBERS = {VIEWS: "views.npy", FEATURES: "features.bin"}
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_MANIFEST_BYTES = 1 << 20
UNIT_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Bundle:
    """What a file holds beside its pictures; rows belong to `items` in their order."""

    name: str
    version: int
    embedder_digest: str | None
    calibration: dict[str, Any] | None
    items: tuple[Item, ...]
    embeddings: NDArray[np.float32]  # (N, D)
    views: NDArray[np.float32] | None  # (N, D)
    features: tuple[bytes, ...] | None
    index: dict[str, Any] | None = None  # how it is searched, by contracts.indexes


def write(
    file: zipfile.ZipFile,
    manifest: GalleryManifest,
    items: Sequence[Item],
    embeddings: NDArray[np.float32],
    views: NDArray[np.float32] | None,
    features: Sequence[bytes],
) -> None:
    """All but the pictures. Views are None, features all empty, where there are none."""
    members = {ITEMS: encode_items(items), EMBEDDINGS: encode_embeddings(embeddings)}
    if views is not None:
        members[MEMBERS[VIEWS]] = encode_views(views)
    if any(features):
        members[MEMBERS[FEATURES]] = encode_features(features)
    about = {
        "kind": KIND, "schema": SCHEMA, "name": manifest.name, "version": manifest.version,
        "created_at": manifest.created_at, "embedder_digest": manifest.embedder_digest, "dim": manifest.dim,
        "item_count": len(items), "calibration": manifest.calibration, "index": manifest.index,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }  # fmt: skip
    file.writestr(MANIFEST, json.dumps(about, ensure_ascii=False, allow_nan=False, indent=1) + "\n")
    for name, data in members.items():
        file.writestr(name, data)


def image_member(sha256: str) -> str:
    """The name of a picture."""
    return f"images/{sha256}"


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The file, to read. Whatever is wrong with it raises ImportRefused."""
    try:
        with zipfile.ZipFile(path) as file:
            # A compressed member could be far larger than the file; ours never is.
            if any(member.compress_type != zipfile.ZIP_STORED for member in file.infolist()):
                raise ImportRefused(
                    f"{path} is no gallery that `shitu gallery export` wrote: its members are compressed."
                )
            yield file
    except GalleryCorrupt as error:
        raise ImportRefused(f"{path} is damaged: {error.detail}") from error
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
        raise ImportRefused(f"{path} is no gallery that `shitu gallery export` wrote, or it is damaged.") from error


def read(file: zipfile.ZipFile) -> Bundle:
    """All but the pictures, checked against the manifest. Raises ImportRefused, GalleryCorrupt."""
    about = _manifest(file)
    try:
        hashes = {str(name): str(sha256) for name, sha256 in about["files"].items()}
        extra = {kind: hashes[member] for kind, member in MEMBERS.items() if member in hashes}
        whole = Segment("bundle", int(about["item_count"]), hashes[ITEMS], hashes[EMBEDDINGS], files=extra)
        name, version, dim = str(about["name"]), int(about["version"]), about["dim"]
        digest, calibration = about["embedder_digest"], about["calibration"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ImportRefused("The bundle's manifest lacks something, or has it in another form.") from error
    index = about.get("index")
    if (
        not isinstance(calibration, dict | None)
        or not isinstance(index, dict | None)
        or (digest is not None and not (isinstance(digest, str) and SHA256.fullmatch(digest)))
    ):
        raise ImportRefused("The bundle's manifest has a calibration, an embedder or an index in another form.")
    items = decode_items(name, whole, member(file, ITEMS))
    if not all(SHA256.fullmatch(item.sha256) for item in items):
        raise ImportRefused("An item of the bundle has no SHA-256 of its picture.")
    if not items:
        return Bundle(name, version, digest, None, (), np.zeros((0, 0), np.float32), None, None, index)
    embeddings = decode_embeddings(name, whole, dim, member(file, EMBEDDINGS))
    lengths = np.linalg.norm(embeddings, axis=1)
    if digest is None or not np.isfinite(lengths).all() or np.abs(lengths - 1).max() > UNIT_TOLERANCE:
        raise ImportRefused("The bundle's embeddings are not unit vectors of a named embedder.")
    views = decode_views(name, whole, dim, member(file, MEMBERS[VIEWS])) if VIEWS in extra else None
    features = decode_features(name, whole, member(file, MEMBERS[FEATURES])) if FEATURES in extra else None
    return Bundle(name, version, digest, calibration, items, embeddings, views, features, index)


def picture(file: zipfile.ZipFile, item: Item) -> bytes | None:
    """The item's picture, or None where the bundle has none. Raises ImportRefused."""
    if image_member(item.sha256) not in file.NameToInfo:
        return None
    data = member(file, image_member(item.sha256))
    if hashlib.sha256(data).hexdigest() != item.sha256:
        raise ImportRefused(f"The picture of the item {item.id} is not the one that was exported.")
    return data


def member(file: zipfile.ZipFile, name: str) -> bytes:
    """One member's bytes. Raises ImportRefused."""
    try:
        return file.read(name)
    except KeyError as error:
        raise ImportRefused(f"The bundle has no {name}.") from error


def chosen(bundle: Bundle, rows: Sequence[int], items: Sequence[Item]) -> Bundle:
    """The bundle with these of its rows, as `items`."""
    picked = list(rows)
    views = None if bundle.views is None else bundle.views[picked]
    features = None if bundle.features is None else tuple(bundle.features[row] for row in picked)
    return replace(bundle, items=tuple(items), embeddings=bundle.embeddings[picked], views=views, features=features)


def _manifest(file: zipfile.ZipFile) -> dict[str, Any]:
    info = file.NameToInfo.get(MANIFEST)
    if info is None or info.file_size > MOST_MANIFEST_BYTES:
        raise ImportRefused("This file has no manifest: it is no gallery that `shitu gallery export` wrote.")
    try:
        about = json.loads(member(file, MANIFEST))
    except ValueError as error:
        raise ImportRefused("The bundle's manifest is no JSON.") from error
    if not isinstance(about, dict) or about.get("kind") != KIND:
        raise ImportRefused("This file is no gallery that `shitu gallery export` wrote.")
    if about.get("schema") != SCHEMA:
        raise ImportRefused(f"The bundle has the schema {about.get('schema')!r}; this version of ShiTu reads {SCHEMA}.")
    return about
