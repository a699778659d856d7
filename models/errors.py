"""What can go wrong between an image and its recognitions.

ModelError
 ├ ImageError      image_empty image_not_an_image image_format_unsupported image_unreadable image_truncated
 │                 image_too_large image_too_small box_empty
 │                 image_not_found image_type_unsupported image_dtype_unsupported image_shape_unsupported
 ├ ArtifactError   artifact_missing artifact_incomplete artifact_invalid artifact_changed model_unknown
 │                 download_failed checksum_mismatch archive_unsafe
 ├ OptionsError    options_invalid
 ├ EngineError     engine_unknown engine_not_installed program_missing program_corrupt input_invalid engine_failed
 │                 output_invalid embedding_invalid
 └ GalleryError    gallery_invalid gallery_id_taken gallery_index_damaged
"""

from contracts.errors import ModelError, OptionsError

__all__ = ["ArtifactError", "EngineError", "GalleryError", "ImageError", "ModelError", "OptionsError"]


class ImageError(ModelError):
    """The bytes are no usable picture."""

    code = "image_unreadable"


class ArtifactError(ModelError):
    """A model folder is missing, incomplete, or not what its manifest says."""

    code = "artifact_invalid"


class EngineError(ModelError):
    """A program can't be run, or answers what can't be used."""

    code = "engine_failed"


class GalleryError(ModelError):
    """Embeddings or items do not fit the gallery."""

    code = "gallery_invalid"
