"""What can go wrong between an image and its recognitions.

ModelError
 ├ ImageError      the picture: unreadable, truncated, too large ...
 ├ ArtifactError   a model folder: missing, incomplete, changed ...
 ├ EngineError     the program or the engine that should run it
 └ GalleryError    the gallery: wrong dimension, not finite ...
"""


class ModelError(Exception):
    """Root of all errors of `models`. `code` is stable and part of the API, `detail` is for people."""

    code = "model_error"

    def __init__(self, detail: str, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class ImageError(ModelError):
    """The bytes are no usable picture."""

    code = "image_unreadable"


class ArtifactError(ModelError):
    """A model folder is missing, incomplete, or not what its manifest says."""

    code = "artifact_invalid"


class EngineError(ModelError):
    """A program can't be run."""

    code = "engine_failed"


class GalleryError(ModelError):
    """Embeddings or items do not fit the gallery."""

    code = "gallery_invalid"
