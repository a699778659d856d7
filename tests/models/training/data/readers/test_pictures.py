"""Picture files checked before training: all broken ones in one error."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.training.data.photos import MOST_LISTED, DatasetError
from models.training.data.readers.pictures import checked, require_files, require_pictures
from tests.models.training.data.readers.pictures import write_picture


def test_size_and_bytes_of_each_file(tmp_path: Path) -> None:
    paths = [
        write_picture(tmp_path / f"{name}.png", seed, (5, 4 + seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    found = checked([*paths, paths[0]], threads=2)
    assert list(found) == paths
    assert [file.size for file in found.values()] == [(5, 5), (5, 5), (5, 6)]
    assert found[paths[0]].digest == found[paths[1]].digest != found[paths[2]].digest


@pytest.mark.parametrize("require", [require_pictures, require_files])
def test_every_broken_file_is_in_the_one_error(tmp_path: Path, require: Callable[..., None]) -> None:
    good = write_picture(tmp_path / "good.png", size=(40, 40))
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:-200])
    (tmp_path / "text.jpg").write_text("no picture", encoding="utf-8")
    require([good])
    with pytest.raises(DatasetError) as error:
        require([good, tmp_path / "cut.png", tmp_path / "text.jpg", tmp_path / "gone.png"], threads=3)
    reported = error.value.detail
    assert "3 bad picture(s)" in reported
    assert all(f"{name}: " in reported for name in ("cut.png", "text.jpg", "gone.png"))
    assert "good.png" not in reported


def test_a_long_list_of_them_is_cut_and_counted(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as error:
        require_pictures(tmp_path / f"{number}.png" for number in range(MOST_LISTED + 5))
    assert error.value.detail.endswith("; and 5 more")


FORMATS = ("jpg", "png", "gif", "webp", "bmp", "tiff")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_glance_separates_a_whole_picture_of_any_format_from_one_cut_short(tmp_path: Path, kind: str) -> None:
    path = write_picture(tmp_path / f"a.{kind}", size=(64, 48))
    require_files([path])
    whole = path.read_bytes()
    for kept in (len(whole) * 9 // 10, len(whole) // 2, 30, 1, 0):
        path.write_bytes(whole[:kept])
        with pytest.raises(DatasetError, match=rf"1 bad picture\(s\): .*a\.{kind}: "):
            require_files([path])


def test_a_glance_decodes_what_ends_oddly_and_nothing_else(tmp_path: Path) -> None:
    """Cameras write things after a picture's end. A break in the middle is what a glance may overlook."""
    path = write_picture(tmp_path / "a.jpg", size=(64, 48))
    whole = path.read_bytes()
    path.write_bytes(whole + b"a maker's own notes")
    require_files([path])
    png = write_picture(tmp_path / "b.png", size=(64, 48))
    whole = png.read_bytes()
    png.write_bytes(whole[:200] + bytes(100) + whole[300:])
    require_files([png])
    with pytest.raises(DatasetError, match=r"b\.png"):
        require_pictures([png])


def test_more_files_than_wait_at_once_are_all_looked_at_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.training.data.readers.pictures.AT_ONCE", 3)
    paths = [tmp_path / f"{number}.png" for number in range(8)]
    for path in paths:
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(path)
    reported: list[tuple[str, int, int]] = []
    assert list(checked(reversed(paths), lambda *line: reported.append(line), threads=2)) == paths
    assert reported == [("pictures checked", number, 8) for number in range(1, 9)]
