"""Galleries, their items and versions. The tree of all: infra/errors/__init__.py."""
# ruff: noqa: N818 - the names say what happened, as callers read it: `raise JobNotFound(...)`, `except GalleryBusy`.

from __future__ import annotations

from contracts.errors import ServiceError


class InvalidGalleryName(ServiceError):
    """A gallery's name has other characters or another length than allowed."""

    code = "gallery_name_invalid"
    title = "Invalid gallery name"
    http_status = 422


class GalleryNotFound(ServiceError):
    """No gallery has this name."""

    code = "gallery_not_found"
    title = "No such gallery"
    http_status = 404


class GalleryExists(ServiceError):
    """A gallery of this name exists already."""

    code = "gallery_exists"
    title = "Gallery exists"
    http_status = 409


class GalleryBusy(ServiceError):
    """Another writer holds the gallery; one at a time."""

    code = "gallery_busy"
    title = "Gallery busy"
    http_status = 409
    retryable = True


class GalleryCorrupt(ServiceError):
    """A stored file of the gallery does not match its manifest."""

    code = "gallery_corrupt"
    title = "Gallery corrupt"


class MilvusNotConfigured(ServiceError):
    """A gallery is to be searched by Milvus, and the settings name no server (SHITU_MILVUS__URI)."""

    code = "milvus_not_configured"
    title = "No Milvus server"
    http_status = 409


class MilvusUnavailable(ServiceError):
    """The Milvus server that searches the gallery does not answer, or refuses."""

    code = "milvus_unavailable"
    title = "Milvus unavailable"
    http_status = 503
    retryable = True


class VersionNotFound(ServiceError):
    """The gallery has no such version."""

    code = "gallery_version_not_found"
    title = "No such gallery version"
    http_status = 404


class LabelExists(ServiceError):
    """The gallery has the new label already; its items and the renamed ones become one label only if that is said."""

    code = "label_exists"
    title = "Label exists"
    http_status = 409


class ItemNotFound(ServiceError):
    """The gallery has no such item."""

    code = "item_not_found"
    title = "No such item"
    http_status = 404


class ErasureNotFound(ServiceError):
    """No erasure has this id."""

    code = "erasure_not_found"
    title = "No such erasure"
    http_status = 404


class FeedbackNotFound(ServiceError):
    """The gallery has no feedback of this id."""

    code = "feedback_not_found"
    title = "No such feedback"
    http_status = 404


class EmbedderMismatch(ServiceError):
    """The gallery was made with another embedder; embeddings of different models never mix."""

    code = "embedder_mismatch"
    title = "Gallery made with another embedder"
    http_status = 409


class EmbedderUnknown(ServiceError):
    """None of the service's embedders has this name or digest."""

    code = "embedder_unknown"
    title = "No such embedder"
    http_status = 422


class NothingToReembed(ServiceError):
    """None of the gallery's items has a picture that can be embedded again."""

    code = "reembedding_impossible"
    title = "Nothing to embed again"
    http_status = 422


class ImportRefused(ServiceError):
    """What is to be imported cannot be read as a whole: it is of no known kind, damaged, or names nothing that can be used."""

    code = "import_invalid"
    title = "Nothing to import"
    http_status = 422


class ImportForbidden(ServiceError):
    """A folder or bucket outside of those that the setting allows to import from."""

    code = "import_forbidden"
    title = "Not to be imported from"
    http_status = 403
