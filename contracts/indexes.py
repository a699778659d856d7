"""How a gallery is searched: the user's choice, under PP-ShiTu's names, and what follows from it for each of its files.

Without a choice it follows from the size: exact search while it is fast, quantised codes with an exact re-ranking above.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NotRequired, Protocol, get_args

from typing_extensions import TypedDict

from contracts.jobs import described
from contracts.metadata import KEY

IndexMethod = Literal["auto", "Flat", "IVF", "HNSW32", "Milvus"]
DistType = Literal["IP", "L2", "hamming"]
BuiltKind = Literal["PQ", "HNSW32", "IVF", "Milvus"]
IndexState = Literal["exact", "building", "built"]

METHODS: tuple[IndexMethod, ...] = get_args(IndexMethod)
DISTANCES: tuple[DistType, ...] = get_args(DistType)
KINDS: tuple[BuiltKind, ...] = get_args(BuiltKind)
FAISS_KINDS: tuple[BuiltKind, ...] = tuple(kind for kind in KINDS if kind != "Milvus")

FLAT_BELOW = 20_000  # items: an exact search of them takes one to two milliseconds of one thread
LEAST_PART = 2_500  # items: smaller files of a large gallery are searched exactly, next to the built index
LEAST_CHOSEN = 100  # the same where somebody chose IVF, HNSW32 or Milvus
SUBVECTOR = 4  # dimensions that one code of "PQ" stands for
MOST_RERANK = 1000
RERANK = 100  # of a Hamming search: how many of the nearest codes are put in order by their embeddings
LEAST_RECALL = 0.98  # a built index below it is not used, unless somebody chose its method


@dataclass(frozen=True)
class IndexChoice:
    """What somebody chose for a gallery, or nothing: "auto". Raises ValueError for what there is not.

    `dist_type` L2 orders unit vectors as IP does. `rerank` is of "hamming" alone; 0: the codes alone decide.
    With `fuse` one vector is searched for each thing, the normalised mean of its pictures' embeddings. A thing is a label;
    with `fuse_by`, the items of a label that have the same value of this metadata key.
    """

    index_method: IndexMethod = "auto"
    dist_type: DistType = "IP"
    rerank: int = RERANK
    fuse: bool = False
    fuse_by: str | None = None

    def __post_init__(self) -> None:
        if self.index_method not in METHODS:
            raise ValueError(f"index_method is one of {', '.join(METHODS)}, not {self.index_method!r}")
        if self.dist_type not in DISTANCES:
            raise ValueError(f"dist_type is one of {', '.join(DISTANCES)}, not {self.dist_type!r}")
        if isinstance(self.rerank, bool) or not isinstance(self.rerank, int) or not 0 <= self.rerank <= MOST_RERANK:
            raise ValueError(f"rerank is a whole number from 0 to {MOST_RERANK}, not {self.rerank!r}")
        if self.remote and self.binary:
            raise ValueError("Milvus goes with the dist_type IP or L2, not with hamming")
        if self.fuse not in (True, False):
            raise ValueError(f"fuse is true or false, not {self.fuse!r}")
        if self.fuse and not self.fusible:
            raise ValueError(
                f"fuse goes with the index_method auto or Flat, or with hamming, not {self.index_method!r}"
            )
        if self.fuse_by is not None and not (isinstance(self.fuse_by, str) and KEY.fullmatch(self.fuse_by)):
            raise ValueError(f"fuse_by is a name of items' metadata, not {self.fuse_by!r}")
        if self.fuse_by is not None and not self.fuse:
            raise ValueError("fuse_by goes with fuse alone")

    def to_dict(self) -> dict[str, Any]:
        """As it is kept with a gallery. What is not fused is kept as it was before there was a choice."""
        kept = asdict(self)
        left_out = ("fuse_by",) if self.fuse_by is None else ()
        return {name: kept[name] for name in kept if name not in (left_out if self.fuse else ("fuse", "fuse_by"))}

    @property
    def fusible(self) -> bool:
        """Whether fused vectors can be searched so: no index is built of them, for any addition changes some."""
        return self.binary or self.index_method in ("auto", "Flat")

    @property
    def remote(self) -> bool:
        """Whether a Milvus server holds the vectors; the workers then hold none of the large files."""
        return self.index_method == "Milvus"

    @property
    def binary(self) -> bool:
        """Whether binary codes are searched by Hamming distance."""
        return self.dist_type == "hamming"

    @property
    def binary_kind(self) -> str:
        """The binary index of a Hamming search (models.galleries.binary_index)."""
        return {"IVF": "BIVF", "HNSW32": "BHNSW32"}.get(self.index_method, "BFlat")


def choice_of(stored: Mapping[str, Any] | None) -> IndexChoice:
    """What a manifest keeps; "auto" for one that keeps nothing, or what only a later version understands."""
    try:
        return IndexChoice(**(stored or {}))
    except (TypeError, ValueError):
        return IndexChoice()


class _Labelled(Protocol):
    """An item, perhaps with `metadata`."""

    @property
    def label(self) -> str: ...


def things_of(choice: IndexChoice, items: Iterable[_Labelled]) -> list[int] | None:
    """For each item the number of the thing that it shows, counted in the order of their first items; None: none is fused.

    Items of a label that lack the metadata key `fuse_by` are one thing.
    """
    if not choice.fuse:
        return None
    numbers: dict[tuple[str, str | None], int] = {}
    by = choice.fuse_by
    keys = ((item.label, (getattr(item, "metadata", None) or {}).get(by) if by else None) for item in items)
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def kind_of(choice: IndexChoice, dim: int | None, gallery_items: int, part_items: int) -> BuiltKind | None:
    """The index that is built for a file of so many items of such a gallery; None: it is searched exactly."""
    if choice.binary or choice.fuse or choice.index_method == "Flat" or not dim:
        return None
    if choice.index_method != "auto":
        return choice.index_method if part_items >= LEAST_CHOSEN else None
    large = gallery_items >= FLAT_BELOW and part_items >= LEAST_PART
    return "PQ" if large and dim % SUBVECTOR == 0 else None


def is_used(choice: IndexChoice, recall_at_1: float) -> bool:
    """Whether a built index of this recall is searched."""
    return choice.index_method != "auto" or recall_at_1 >= LEAST_RECALL


def name_of(kind: BuiltKind, dim: int) -> str:
    """An index by Faiss' name for it, re-ranked by the embeddings (RFlat); "Milvus" is that server's own index."""
    names: dict[BuiltKind, str] = {
        "PQ": f"PQ{dim // SUBVECTOR}x4fs,RFlat",
        "HNSW32": "HNSW32_SQ8,RFlat",
        "IVF": "IVF,SQ8,RFlat",
        "Milvus": "Milvus",
    }
    return names[kind]


@described
class GalleryIndex(TypedDict):
    """How a gallery is searched: what was chosen, and what is in use."""

    index_method: IndexMethod
    """What was chosen; `auto`: by the number of items; `Milvus`: a Milvus server holds and searches the vectors."""
    dist_type: DistType
    """`L2` orders as `IP` does, for embeddings are unit vectors; `hamming`: binary codes."""
    rerank: NotRequired[int]
    """With `hamming`: so many of the nearest codes are put in order by their embeddings; 0: none."""
    fuse: NotRequired[bool]
    """True: one vector is searched for each thing, the normalised mean of its pictures' embeddings."""
    fuse_by: NotRequired[str]
    """With `fuse`: the metadata key that distinguishes things of a label."""
    in_use: str
    """Faiss' name of the index that answers; `Flat`: exact search; `Milvus`: the server's own index."""
    state: IndexState
    """`exact`: none is needed; `building`: until it is built, the search is exact; `built`."""
    indexed_items: int
    """How many items the built index has; all others are searched exactly."""
    recall_at_1: float | None
    """Against exact search, measured when it was built: how often the nearest item is found; null for `hamming`."""
    build_s: float
    """How long building it took."""
    size_bytes: int
    """Of the built index, without the embeddings; 0 for what Milvus holds."""
