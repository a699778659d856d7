"""What browsers cannot show is kept a second time, as the worker saw it; the page's picture is the embedded one."""

import io
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from infra.objects.local import LocalStore
from PIL import Image

from infra.objects.store import preview_key
from models.pictures.image import decode
from models.pictures.preview import needs_preview
from worker.previews import keep_preview

KEY = "photos/ab/abcd"


def picture(mode: str = "RGB") -> Image.Image:
    y, x = np.mgrid[:48, :64] * 4
    return Image.fromarray(np.stack([x, y, 255 - x], axis=2).astype(np.uint8)).convert(mode)


def encoded(kind: str, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(picture(mode)).save(file, quality=90)
    else:
        picture(mode).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "mode"), [("HEIF", "RGB"), ("TIFF", "RGB"), ("TIFF", "CMYK"), ("BMP", "RGB"), ("JPEG", "CMYK")])  # fmt: skip
def test_a_rendering_of_the_embedded_pixels_is_kept(tmp_path: Path, kind: str, mode: str) -> None:
    store, data = LocalStore(tmp_path), encoded(kind, mode)
    image = decode(data)
    keep_preview(store, KEY, data, image)
    shown = store.get(preview_key(KEY))
    assert shown.startswith(b"\xff\xd8\xff")
    assert not needs_preview(shown)
    assert np.abs(decode(shown).astype(int) - image).mean() < 4


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGBA"), ("WEBP", "RGB"), ("AVIF", "RGB"), ("GIF", "P")])  # fmt: skip
def test_what_browsers_show_is_kept_once(tmp_path: Path, kind: str, mode: str) -> None:
    store, data = LocalStore(tmp_path), encoded(kind, mode)
    keep_preview(store, KEY, data, decode(data))
    assert not store.exists(preview_key(KEY))


def test_no_job_fails_for_a_preview(tmp_path: Path) -> None:
    (tmp_path / "previews").write_bytes(b"a file in the folder's place")
    data = encoded("TIFF")
    keep_preview(LocalStore(tmp_path), KEY, data, decode(data))
