"""What every teacher is: a frozen network that answers while a student learns or its pictures are prepared."""

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Answer_co = TypeVar("Answer_co", covariant=True)


class Teacher(Protocol[Answer_co]):
    """(B, H, W, 3) RGB uint8, or one such picture, as the teacher says -> its vectors, its heads, or its boxes."""

    def __call__(self, images: NDArray[np.uint8], /) -> Answer_co:
        """Raises ArtifactError, EngineError, and TrainingError for an answer that is NaN or infinite."""
