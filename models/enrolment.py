"""What is kept of an enrolled picture besides its embedding, and what is fitted to a gallery of such pictures."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from models import verification
from models.errors import ModelError
from models.galleries import calibration
from models.pictures.augmented_view import augmented_view
from models.pictures.inputs import as_image, as_images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from models.pictures.inputs import Picture

GROUP = 16  # pictures in memory at a time


class Embeds(Protocol):
    """An embedder, as models.embedder.Embedder."""

    @property
    def dim(self) -> int: ...

    @property
    def calibration(self) -> calibration.Calibration: ...

    @property
    def unknowns(self) -> NDArray[np.float32]: ...

    def __call__(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]: ...


def embed_views(images: Sequence[Picture], sha256s: Sequence[str], embedder: Embeds) -> NDArray[np.float32]:
    """(N, D): the embedding of one augmented view of each image, zeros where it cannot be embedded.

    The view follows from the picture's hash: the same picture always has the same.
    """
    images = as_images(images)
    made = [augmented_view(image, int(sha256[:8], 16)) for image, sha256 in zip(images, sha256s, strict=True)]
    try:
        return embedder(made)
    except ModelError as error:
        if error.code != "embedding_invalid":
            raise
        if len(made) == 1:
            return np.zeros((1, embedder.dim), np.float32)
    alone = [embed_views([image], [sha256], embedder) for image, sha256 in zip(images, sha256s, strict=True)]
    return np.concatenate(alone)


def embed_lone_views(
    labels: Sequence[str],
    read: Callable[[int], tuple[Picture, str]],
    embedder: Embeds,
) -> NDArray[np.float32]:
    """(N, D): what a calibration needs of `embed_views`: a row for each label's only picture, zeros for all others.

    `read` gives a picture (H, W, 3) and its file's SHA-256 in hex, by its place among the `labels`.
    """
    views = np.zeros((len(labels), embedder.dim), np.float32)
    counts = Counter(labels)
    alone = [at for at, label in enumerate(labels) if counts[label] == 1]
    for start in range(0, len(alone), GROUP):
        group = alone[start : start + GROUP]
        images, sha256s = zip(*map(read, group), strict=True)
        views[group] = embed_views(images, sha256s, embedder)
    return views


def packed_features(image: Picture) -> bytes:
    """The local features of what is enrolled of a picture, (H, W, 3): a gallery keeps them for verification."""
    return verification.pack(verification.describe(as_image(image)))


def calibrator(
    embedder: Embeds,
) -> Callable[
    [Sequence[str], NDArray[np.float32], NDArray[np.float32] | None, Sequence[int] | None], dict[str, Any] | None
]:
    """Fits a gallery's probabilities to its labels, embeddings, views and fused things (None: none is), as JSON.

    None: it is too small, the embedder's hold.
    """

    def fitted(
        labels: Sequence[str],
        embeddings: NDArray[np.float32],
        views: NDArray[np.float32] | None,
        things: Sequence[int] | None = None,
    ) -> dict[str, Any] | None:
        found = calibration.fit(labels, embeddings, views, embedder.unknowns, embedder.calibration, things)
        # A copy of the embedder's own would stay when the embedder gets a better one.
        return found.to_dict() if found.source == "gallery" else None

    return fitted
