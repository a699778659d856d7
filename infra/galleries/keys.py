"""Where the files of a gallery lie: the keys of pointers, manifests, segments and indexes, and how to read them back.

    galleries/current/<name>/<token>-<generation>                     pointer: the manifest in force, the versions kept
    galleries/feedback/<name>/<generation>/                           what people said of its answers
    galleries/lint/<name>/<generation>/                               what the linter found
    galleries/files/<name>/<generation>/manifests/<version>-<token>   manifest of one version (JSON)
    galleries/files/<name>/<generation>/segments/<version>-<token>.jsonl and .npy    items and their embeddings
                                                     and, where there are any, .views.npy and .features.bin beside them, of all
                                                     but small ones .keys.bin (infra.galleries.item_keys),
                                                     and of large ones .<kind>.faiss and .<kind>.json (infra.galleries.indexes)

No file is ever changed. A gallery's generation is drawn when it is created, so that what a deleted gallery left behind
can never be taken for a part of the next one of its name. A pointer that ends in `deleted` says that there is none;
what can be restored then is in infra.galleries.deleted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from contracts.indexes import KINDS
from infra.errors.galleries import GalleryCorrupt

if TYPE_CHECKING:
    from contracts.indexes import BuiltKind
    from infra.galleries.files import Segment

POINTERS = "galleries/current/"
DELETED = "deleted"
VIEWS, FEATURES, KEYS = "views", "features", "keys"
ENDINGS = {VIEWS: ".views.npy", FEATURES: ".features.bin", KEYS: ".keys.bin"}  # of a segment's optional files


def version_of(manifest_id: str) -> int:
    """The version in a manifest's id. Raises ValueError."""
    return int(manifest_id.partition("-")[0])


def token_of(file_key: str) -> int:
    """The token of the writer of a gallery's file: manifests and segments bear it in their names. Raises GalleryCorrupt."""
    found = re.search(r"-(\d+)(\.\w+)+$", file_key)
    if found is None:
        raise GalleryCorrupt("There is a file among the galleries' files that is none.")
    return int(found[1])


def pointers_prefix(name: str) -> str:
    return f"{POINTERS}{name}/"


def pointer_key(name: str, token: int, generation: str) -> str:
    return f"{pointers_prefix(name)}{token:016d}-{generation}"


def parse_pointer_key(key: str) -> tuple[str, int, str]:
    """The gallery's name, the token and the generation of a pointer's key. Raises GalleryCorrupt."""
    found = re.fullmatch(rf"{POINTERS}([^/]+)/(\d+)-(\w+)", key)
    if found is None:
        raise GalleryCorrupt("There is a file among the galleries' pointers that is none.")
    return found[1], int(found[2]), found[3]


def files_prefix(name: str, generation: str | None = None) -> str:
    return f"galleries/files/{name}/" + (f"{generation}/" if generation else "")


def feedback_prefix(name: str, generation: str | None = None) -> str:
    """Where the judgements of a gallery's answers are (infra.galleries.feedback)."""
    return f"galleries/feedback/{name}/" + (f"{generation}/" if generation else "")


def lint_prefix(name: str, generation: str | None = None) -> str:
    """Where what the linter found is (infra.galleries.lint_reports)."""
    return f"galleries/lint/{name}/" + (f"{generation}/" if generation else "")


def manifest_key(name: str, generation: str, manifest_id: str) -> str:
    return f"{files_prefix(name, generation)}manifests/{manifest_id}.json"


def segment_keys(name: str, generation: str, segment_id: str) -> tuple[str, str]:
    """The keys of a segment's items and of its embeddings."""
    stem = _segment_stem(name, generation, segment_id)
    return f"{stem}.jsonl", f"{stem}.npy"


def extra_key(name: str, generation: str, segment_id: str, kind: str) -> str:
    """The key of a segment's file of views, of features or of keys."""
    return _segment_stem(name, generation, segment_id) + ENDINGS[kind]


def all_segment_keys(name: str, generation: str, segment: Segment) -> tuple[str, ...]:
    """The keys of all files that a segment has or may have."""
    extra = (extra_key(name, generation, segment.id, kind) for kind in segment.files)
    indexes = (key for kind in KINDS for key in index_keys(name, generation, segment.id, kind))
    return (*segment_keys(name, generation, segment.id), *extra, *indexes)


def index_keys(name: str, generation: str, segment_id: str, kind: BuiltKind) -> tuple[str, str]:
    """The keys of an index that was built for a segment, and of its record, which is written last."""
    stem = f"{_segment_stem(name, generation, segment_id)}.{kind.lower()}"
    return f"{stem}.faiss", f"{stem}.json"


def _segment_stem(name: str, generation: str, segment_id: str) -> str:
    return f"{files_prefix(name, generation)}segments/{segment_id}"
