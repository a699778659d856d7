"""What a gallery's files hold: bytes in, checked values out, and back; where they lie is in infra.galleries.keys.

Views are embeddings of one augmented view of each item's picture, features its packed local features: both are opaque here.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.names import readable_label
from infra.errors.galleries import GalleryCorrupt, InvalidGalleryName
from infra.galleries.keys import ENDINGS, FEATURES, VIEWS, version_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


SCHEMA = 1
LATER = {
    "files",
    "calibration",
    "calibrated_items",
    "removed_since",
    "metadata",
    "index",
    "made_by",
}  # members that older manifests lack
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Item:
    """A labelled picture, or the part of it in `box` (x1, y1, x2, y2), of a gallery."""

    id: str
    label: str  # by contracts.names; an older one is made readable, and its id is of the label as it was
    image_key: str
    sha256: str  # of the picture's bytes
    box: Box | None
    added_at: str  # ISO 8601, UTC
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)  # the user's, by contracts.metadata


@dataclass(frozen=True)
class Segment:
    """Immutable files: `item_count` items and their embeddings, less the items `removed` since.

    `files` has the hashes of those files that not every segment has, by their names in ENDINGS.
    """

    id: str
    item_count: int
    items_sha256: str
    embeddings_sha256: str
    removed: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def live_count(self) -> int:
        """How many of its items were not removed."""
        return self.item_count - len(self.removed)


@dataclass(frozen=True)
class GalleryManifest:
    """One version of a gallery. `embedder_digest` and `dim` are None until it has an embedder and an item.

    `calibration` is JSON that whoever searches the gallery understands; None if nothing was fitted to its items.
    `calibrated_items` is to how many (0: unknown), `removed_since` how many items were removed after that.
    `made_by` is the id of the import that made it: what died between this version and the job's end finds it again.
    """

    name: str
    version: int
    generation: str
    token: int  # the fencing token of the writer that made it
    parent: int | None  # the version that it was made from
    created_at: str
    embedder_digest: str | None
    dim: int | None
    item_count: int  # without the removed ones
    segments: tuple[Segment, ...] = ()
    calibration: dict[str, Any] | None = field(default=None, hash=False)
    calibrated_items: int = 0
    removed_since: int = 0
    index: dict[str, Any] | None = field(default=None, hash=False)  # the user's choice, by contracts.indexes
    made_by: str | None = None

    @property
    def id(self) -> str:
        """The name of its file: two writers never choose the same."""
        return f"{self.version:08d}-{self.token:016d}"

    @property
    def tombstones(self) -> tuple[str, ...]:
        """The ids of the items that are still in a segment, but removed."""
        return tuple(item_id for segment in self.segments for item_id in segment.removed)


@dataclass(frozen=True)
class Pointer:
    """Which manifest is in force since the writer with `token`; `manifests` are those of all versions kept, ascending.

    `staged` are those of them that never were in force; who wrote the pointer before there was such a member knew of none.
    `held` are those that something was removed after, and until when (seconds since 1970) they stay for that, however many
    versions follow.
    """

    token: int
    generation: str
    current: str
    manifests: tuple[str, ...]
    staged: tuple[str, ...] = ()
    held: Mapping[str, float] = field(default_factory=dict, hash=False)

    def tidy(self) -> Pointer:
        """Without what is in force, or not kept, among those that are staged; without what is not kept among those held."""
        staged = tuple(one for one in self.staged if one in self.manifests and one != self.current)
        held = {one: until for one, until in self.held.items() if one in self.manifests}
        return replace(self, staged=staged, held=held)

    def renamed(self, names: Mapping[str, str], token: int) -> Pointer:
        """The same versions in other files: `names` has the new ids of manifests by their old ones."""
        return replace(
            self,
            token=token,
            current=names.get(self.current, self.current),
            manifests=tuple(names.get(one, one) for one in self.manifests),
            staged=tuple(names.get(one, one) for one in self.staged),
            held={names.get(one, one): until for one, until in self.held.items()},
        )

    def manifest_id(self, version: int) -> str | None:
        """The id of a version's manifest, if there is one."""
        return next((found for found in self.manifests if version_of(found) == version), None)


def item_id(sha256: str, label: str, box: Sequence[int] | None = None) -> str:
    """The id of the item with this content: adding the same again, as after a crash, is seen by its id."""
    content = json.dumps([sha256, label, None if box is None else [int(side) for side in box]])
    return "itm_" + hashlib.sha256(content.encode()).hexdigest()[:24]


def check_name(name: str) -> str:
    """`name`, if a gallery may be called so. Raises InvalidGalleryName."""
    if not _NAME.fullmatch(name):
        raise InvalidGalleryName(
            "A gallery's name has 1 to 63 lower-case letters, digits, dots, dashes and underscores, "
            "and starts with a letter or a digit."
        )
    return name


def encode_pointer(pointer: Pointer) -> bytes:
    more: dict[str, Any] = {"staged": pointer.staged} if pointer.staged else {}
    if pointer.held:
        more["held"] = dict(pointer.held)
    return _json({"schema": SCHEMA, "current": pointer.current, "manifests": pointer.manifests, **more})


def decode_pointer(name: str, token: int, generation: str, data: bytes) -> Pointer:
    """Raises GalleryCorrupt."""
    try:
        found = _checked_schema(data)
        manifests = tuple(str(manifest_id) for manifest_id in found["manifests"])
        staged = tuple(str(manifest_id) for manifest_id in found.get("staged", ()))
        held = {str(manifest_id): float(until) for manifest_id, until in dict(found.get("held", {})).items()}
        pointer = Pointer(token, generation, str(found["current"]), manifests, staged, held).tidy()
        for manifest_id in (pointer.current, *manifests):
            version_of(manifest_id)
    except (ValueError, KeyError, TypeError) as error:
        raise GalleryCorrupt(f"The pointer of the gallery {name!r} cannot be read.") from error
    return pointer


def encode_manifest(manifest: GalleryManifest) -> bytes:
    return _json({"schema": SCHEMA, **asdict(manifest)})


def decode_manifest(name: str, data: bytes) -> GalleryManifest:
    """Raises GalleryCorrupt."""
    try:
        found = _checked_schema(data)
        segments = tuple(_segment(entry) for entry in found["segments"])
        manifest = GalleryManifest(**{**_members(GalleryManifest, found), "segments": segments})
        if not isinstance(manifest.calibration, dict | None) or not isinstance(manifest.index, dict | None):
            raise TypeError("a calibration or a choice of an index that is no object")
    except (ValueError, KeyError, TypeError) as error:
        raise GalleryCorrupt(f"A manifest of the gallery {name!r} cannot be read.") from error
    if manifest.name != name:
        raise GalleryCorrupt(f"A manifest of the gallery {name!r} belongs to another gallery.")
    return manifest


def encode_items(items: Sequence[Item]) -> bytes:
    """One line of JSON an item."""
    return b"".join(_json(_row(item)) for item in items)


def _row(item: Item) -> dict[str, Any]:
    row = asdict(item)
    if not item.metadata:  # most have none, and a gallery's rows are read often
        del row["metadata"]
    return row


def item_line(item: Item) -> str:
    """An item as one line of ASCII JSON, which `read_items` reads."""
    return json.dumps(_row(item), allow_nan=False, separators=(",", ":"))


def decode_items(name: str, segment: Segment, data: bytes) -> tuple[Item, ...]:
    """All items of the segment, the removed ones too. Raises GalleryCorrupt."""
    if hashlib.sha256(data).hexdigest() != segment.items_sha256:
        raise GalleryCorrupt(f"The items of the gallery {name!r} are not what its manifest says.")
    try:
        found = read_items(data)
    except (ValueError, KeyError, TypeError) as error:
        raise GalleryCorrupt(f"The items of the gallery {name!r} cannot be read.") from error
    if len(found) != segment.item_count:
        raise GalleryCorrupt(f"The gallery {name!r} has another number of items than its manifest says.")
    return found


def decode_some_items(name: str, segment: Segment, data: bytes, rows: Sequence[int]) -> tuple[Item, ...]:
    """The items at these rows of the segment's file; the others are not parsed. Raises GalleryCorrupt."""
    if hashlib.sha256(data).hexdigest() != segment.items_sha256:
        raise GalleryCorrupt(f"The items of the gallery {name!r} are not what its manifest says.")
    lines = data.splitlines()
    try:
        return tuple(_item(json.loads(lines[row])) for row in rows)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise GalleryCorrupt(f"The items of the gallery {name!r} cannot be read.") from error


def read_items(data: bytes) -> tuple[Item, ...]:
    """What `encode_items` wrote. Raises ValueError, KeyError, TypeError."""
    return tuple(_item(json.loads(line)) for line in data.splitlines())


def encode_embeddings(embeddings: NDArray[np.float32]) -> bytes:
    """(N, D) float32 as `.npy`."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(embeddings, dtype="<f4"), allow_pickle=False)
    return buffer.getvalue()


def decode_embeddings(name: str, segment: Segment, dim: int | None, data: bytes) -> NDArray[np.float32]:
    """(N, D) float32, a row for each item of the segment. Raises GalleryCorrupt; runs nothing that it reads."""
    if hashlib.sha256(data).hexdigest() != segment.embeddings_sha256:
        raise GalleryCorrupt(f"The embeddings of the gallery {name!r} are not what its manifest says.")
    try:
        embeddings = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise GalleryCorrupt(f"The embeddings of the gallery {name!r} cannot be read.") from error
    if embeddings.dtype != np.dtype("<f4") or embeddings.shape != (segment.item_count, dim):
        raise GalleryCorrupt(f"The gallery {name!r} has embeddings of another shape than its manifest says.")
    return np.asarray(embeddings, np.float32)


def encode_views(views: NDArray[np.float32]) -> bytes:
    """(N, D) as `.npy` of half precision: they only help to fit a calibration."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(views, dtype="<f2"), allow_pickle=False)
    return buffer.getvalue()


def decode_views(name: str, segment: Segment, dim: int | None, data: bytes) -> NDArray[np.float32]:
    """(N, D) float32, a row for each item of the segment, zeros where there is no view. Raises GalleryCorrupt."""
    _check_hash(name, segment, VIEWS, data)
    try:
        views = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise GalleryCorrupt(f"The views of the gallery {name!r} cannot be read.") from error
    if views.dtype != np.dtype("<f2") or views.shape != (segment.item_count, dim):
        raise GalleryCorrupt(f"The gallery {name!r} has views of another shape than its manifest says.")
    return np.asarray(views, np.float32)


def encode_features(features: Sequence[bytes]) -> bytes:
    """For each item the length of its features (4 bytes, little-endian) and the features; length 0 where there are none."""
    return b"".join(struct.pack("<I", len(packed)) + packed for packed in features)


def decode_features(name: str, segment: Segment, data: bytes) -> tuple[bytes, ...]:
    """The packed features of each item of the segment, empty where there are none. Raises GalleryCorrupt."""
    _check_hash(name, segment, FEATURES, data)
    found, start = [], 0
    while start + 4 <= len(data):
        (length,) = struct.unpack_from("<I", data, start)
        found.append(data[start + 4 : start + 4 + length])
        start += 4 + length
    if start != len(data) or len(found) != segment.item_count:
        raise GalleryCorrupt(f"The features of the gallery {name!r} do not fit its manifest.")
    return tuple(found)


def _check_hash(name: str, segment: Segment, kind: str, data: bytes) -> None:
    if hashlib.sha256(data).hexdigest() != segment.files[kind]:
        raise GalleryCorrupt(f"The {kind} of the gallery {name!r} are not what its manifest says.")


def _segment(entry: Mapping[str, Any]) -> Segment:
    known = {kind: str(sha256) for kind, sha256 in dict(entry.get("files", {})).items() if kind in ENDINGS}
    return Segment(**{**_members(Segment, entry), "removed": tuple(entry["removed"]), "files": known})


def _item(entry: Mapping[str, Any]) -> Item:
    box = entry["box"]
    entry = {**entry, "label": readable_label(entry["label"])}  # it may be from before there was a rule
    if "metadata" in entry:
        entry["metadata"] = {str(name): str(value) for name, value in dict(entry["metadata"]).items()}
    if box is None:
        return Item(**_members(Item, entry))
    x1, y1, x2, y2 = (int(side) for side in box)
    return Item(**{**_members(Item, entry), "box": (x1, y1, x2, y2)})


def _members(kind: type[Item | Segment | GalleryManifest], entry: Mapping[str, Any]) -> dict[str, Any]:
    # What a later schema adds is not this reader's; what is missing raises, unless galleries were once made without it.
    return {
        member.name: entry[member.name] for member in fields(kind) if member.name in entry or member.name not in LATER
    }


def _checked_schema(data: bytes) -> dict[str, Any]:
    found = json.loads(data)
    if not isinstance(found, dict) or found["schema"] != SCHEMA:
        raise ValueError("another schema")
    return found


def _json(value: Any) -> bytes:
    return (
        json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        + b"\n"
    )
