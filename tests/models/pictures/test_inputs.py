"""The Python API's border: a picture of any kind becomes the same pixels, or is refused with what to do; nothing is guessed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.classifier import Classifier
from models.detector import Detector
from models.embedder import Embedder
from models.enrolment import embed_views, packed_features
from models.errors import GalleryError, ImageError
from models.galleries.gallery import Gallery
from models.pictures.image import decode
from models.pictures.inputs import as_image, as_images
from models.recognition.pipeline import Recognizer
from models.verification import describe
from tests.models.programs import artifact

RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (24, 40, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (24, 40), dtype=np.uint8)
GREY_AS_RGB = np.stack([GREY] * 3, axis=2)
WITH_ALPHA = np.dstack([RGB, GREY])


class Tensor:
    """What torch and others give: no array, but numpy can make one of it, unless it is on another device."""

    def __init__(self, values: NDArray[Any], device: str = "cpu") -> None:
        self.values, self.device = values, device

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if self.device != "cpu":
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return self.values


def png(picture: Image.Image, **parameters: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", **parameters)
    return buffer.getvalue()


def spread(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same pixels, no two of which lie side by side in memory."""
    wide = np.zeros((2 * image.shape[0], 2 * image.shape[1], 2 * image.shape[2]), np.uint8)
    wide[::2, ::2, ::2] = image
    return wide[::2, ::2, ::2]


CONVERTED: dict[str, tuple[Any, NDArray[np.uint8]]] = {
    "RGB": (RGB, RGB),
    "big-endian": (RGB.astype(">u1"), RGB),
    "read-only": (np.frombuffer(RGB.tobytes(), np.uint8).reshape(RGB.shape), RGB),
    "grey": (GREY, GREY_AS_RGB),
    "grey with a channel": (GREY[:, :, None], GREY_AS_RGB),
    "a matrix": (GREY.view(np.ndarray), GREY_AS_RGB),
    "RGBA": (WITH_ALPHA, decode(png(Image.fromarray(WITH_ALPHA)))),
    "black and white": (GREY > 99, np.where(GREY_AS_RGB > 99, np.uint8(255), np.uint8(0))),
    "mirrored": (RGB[:, ::-1], RGB[:, ::-1].copy()),
    "upside down": (RGB[::-1], RGB[::-1].copy()),
    "from BGR": (RGB[:, :, ::-1], RGB[:, :, ::-1].copy()),
    "channels moved": (np.ascontiguousarray(RGB.transpose(2, 0, 1)).transpose(1, 2, 0), RGB),
    "Fortran's order": (np.asfortranarray(RGB), RGB),
    "spread out": (spread(RGB), RGB),
    "broadcast": (np.broadcast_to(RGB[:1], RGB.shape), np.repeat(RGB[:1], len(RGB), axis=0)),
    "a tensor": (Tensor(RGB), RGB),
    "a memoryview": (memoryview(RGB.data), RGB),
    "no masked pixel": (np.ma.masked_array(RGB, mask=False), RGB),
    "bytes": (png(Image.fromarray(RGB)), RGB),
    "bytearray": (bytearray(png(Image.fromarray(RGB))), RGB),
    "Pillow": (Image.fromarray(RGB), RGB),
}


@pytest.mark.parametrize("kind", CONVERTED)
def test_what_has_one_meaning_is_converted(kind: str) -> None:
    given, expected = CONVERTED[kind]
    image = as_image(given)
    assert (image.dtype, image.shape) == (np.dtype(np.uint8), expected.shape)
    np.testing.assert_array_equal(image, expected)


def test_a_part_of_a_picture_is_not_copied() -> None:
    part = RGB[3:9, 5:20]
    assert as_image(part) is part


@pytest.mark.parametrize("as_path", [str, Path])
def test_a_path_is_read(tmp_path: Path, as_path: Any) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    np.testing.assert_array_equal(as_image(as_path(tmp_path / "a.png")), RGB)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_pillow_picture_is_what_its_file_is(mode: str) -> None:
    picture = Image.fromarray(WITH_ALPHA).convert(mode) if mode != "I;16" else Image.fromarray(GREY.astype(np.uint16))
    np.testing.assert_array_equal(as_image(picture), decode(png(picture)))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "HSV", "F", "I", "RGBX"])
def test_every_other_mode_of_pillow_has_pixels(mode: str) -> None:
    base = Image.fromarray(GREY if mode in "FI" else RGB)
    assert as_image(base.convert(mode)).shape == RGB.shape


def test_a_pillow_picture_is_turned_upright_as_its_file_is() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = png(Image.fromarray(RGB), exif=exif)
    with Image.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(as_image(picture), decode(data))
    assert decode(data).shape == (40, 24, 3)


REFUSED: dict[str, tuple[Any, str, str]] = {
    "None": (None, "image_type_unsupported", "cv2.imread"),
    "a number": (7, "image_type_unsupported", "path"),
    "nested lists": (RGB.tolist(), "image_type_unsupported", "np.asarray"),
    "an open file": (io.BytesIO(b"x"), "image_type_unsupported", "file.read()"),
    "a tensor elsewhere": (Tensor(RGB, "cuda"), "image_type_unsupported", "cpu()"),
    "masked pixels": (np.ma.masked_less(RGB, 9), "image_type_unsupported", "filled"),
    "float32": ((RGB / 255).astype(np.float32), "image_dtype_unsupported", "255"),
    "float64 up to 255": (RGB.astype(np.float64), "image_dtype_unsupported", "uint8"),
    "float16": (RGB.astype(np.float16), "image_dtype_unsupported", "uint8"),
    "uint16": (RGB.astype(np.uint16), "image_dtype_unsupported", "257"),
    "int64": (RGB.astype(np.int64), "image_dtype_unsupported", "astype(np.uint8)"),
    "objects": (RGB.astype(object), "image_dtype_unsupported", "uint8"),
    "text": (np.array([["a"]]), "image_dtype_unsupported", "uint8"),
    "complex": (RGB.astype(np.complex64), "image_dtype_unsupported", "uint8"),
    "a float tensor": (Tensor(RGB.transpose(2, 0, 1) / 255), "image_dtype_unsupported", "uint8"),
    "channels first": (RGB.transpose(2, 0, 1), "image_shape_unsupported", "transpose"),
    "a batch": (RGB[None], "image_shape_unsupported", "batch[0]"),
    "two channels": (RGB[:, :, :2], "image_shape_unsupported", "(H, W)"),
    "five channels": (np.zeros((8, 8, 5), np.uint8), "image_shape_unsupported", "(H, W, 4)"),
    "one row": (RGB[0, :, 0], "image_shape_unsupported", "(H, W, 3)"),
    "one value": (np.uint8(3), "image_shape_unsupported", "(H, W, 3)"),
    "no rows": (RGB[:0], "image_empty", "no pixel"),
    "no columns": (RGB[:, :0], "image_empty", "no pixel"),
    "no bytes": (b"", "image_empty", "empty"),
    "other bytes": (b"not a picture" * 9, "image_not_an_image", "picture"),
    "no file": ("nowhere.jpg", "image_not_found", "nowhere.jpg"),
    "a folder": (Path("/"), "image_not_found", "directory"),
    "a zero in the name": ("a\0b", "image_not_found", "null"),
    "a URL": ("https://localhost/a.jpg", "image_not_found", "URL"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_could_mean_several_things_is_refused_and_says_what_to_do(kind: str) -> None:
    given, code, remedy = REFUSED[kind]
    with pytest.raises(ImageError) as caught:
        as_image(given)
    assert caught.value.code == code
    assert remedy in caught.value.detail


def test_a_closed_picture_is_refused() -> None:
    with Image.open(io.BytesIO(png(Image.fromarray(RGB)))) as picture:
        pass
    with pytest.raises(ImageError) as caught:
        as_image(picture)
    assert caught.value.code == "image_unreadable"


@pytest.mark.parametrize("single", [RGB, GREY, "a.jpg", Path("a.jpg"), b"x", Image.fromarray(RGB), {"a": RGB}, 5])
def test_one_picture_is_no_list_of_pictures(single: Any) -> None:
    with pytest.raises(ImageError, match="list"):
        as_images(single)


def test_lists_of_pictures_may_be_arrays_and_iterators() -> None:
    assert len(as_images(np.stack([RGB, RGB]))) == len(as_images(iter([RGB, RGB]))) == len(as_images((RGB, GREY))) == 2
    assert len(as_images(np.zeros(0))) == len(as_images([])) == 0


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every public door for one picture; each gives something to compare."""
    folder = tmp_path_factory.mktemp("networks")
    detector, embedder = Detector(artifact(folder / "d", "detect")), Embedder(artifact(folder / "e", "embed"))
    classifier = Classifier(artifact(folder / "c", "classify"))
    recognizer, gallery = Recognizer(detector, embedder), Gallery([], np.zeros((0, embedder.dim), np.float32))

    def recognized(given: Any) -> Any:
        recognised = recognizer(given, gallery).to_dict()
        return {name: value for name, value in recognised.items() if name != "timings_ms"}

    return {
        "Recognizer": recognized,
        "Detector": lambda given: detector(given, 0.0),
        "Detector.candidates": lambda given: [rows.tolist() for rows in detector.candidates(given)],
        "Embedder": lambda given: embedder([given]).tolist(),
        "Classifier": lambda given: classifier([given]),
        "embed_views": lambda given: embed_views([given], ["0" * 64], embedder).tolist(),
        "packed_features": packed_features,
        "describe": lambda given: describe(given).points.tolist(),
    }


DOORS = [
    "Recognizer", "Detector", "Detector.candidates", "Embedder", "Classifier", "embed_views", "packed_features", "describe",
]  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_every_door_converts_alike(networks: dict[str, Any], door: str) -> None:
    for given, expected in CONVERTED.values():
        assert networks[door](given) == networks[door](expected)


@pytest.mark.parametrize("door", DOORS)
def test_every_door_refuses_alike(networks: dict[str, Any], door: str) -> None:
    for given, code, _ in REFUSED.values():
        with pytest.raises(ImageError) as caught:
            networks[door](given)
        assert caught.value.code == code


def test_the_place_in_the_list_is_reported(networks: dict[str, Any], tmp_path: Path) -> None:
    embedder = Embedder(artifact(tmp_path, "embed"))
    with pytest.raises(ImageError, match="Picture 1 of the list is an array of float64"):
        embedder([RGB, RGB / 255])


@pytest.mark.parametrize("rows", [[[1.0], [1.0, 2.0]], [["a"]], [[1j]], None, "text"])
def test_a_gallery_refuses_what_is_no_embeddings(rows: Any) -> None:
    with pytest.raises(GalleryError):
        Gallery([], rows)
