"""Picture files looked at before training: all broken ones in one error."""

from pathlib import Path

import pytest

from models.training.photos import MOST_TOLD, DatasetError
from models.training.readers.pictures import look_at, require_pictures
from tests.models.training.readers.pictures import write_picture


def test_size_and_bytes_of_each_file(tmp_path: Path) -> None:
    paths = [
        write_picture(tmp_path / f"{name}.png", seed, (5, 4 + seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    found = look_at([*paths, paths[0]], threads=2)
    assert list(found) == paths
    assert [file.size for file in found.values()] == [(5, 5), (5, 5), (5, 6)]
    assert found[paths[0]].digest == found[paths[1]].digest != found[paths[2]].digest


def test_every_broken_file_is_in_the_one_error(tmp_path: Path) -> None:
    good = write_picture(tmp_path / "good.png", size=(40, 40))
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:-200])
    (tmp_path / "text.jpg").write_text("no picture", encoding="utf-8")
    require_pictures([good])
    with pytest.raises(DatasetError) as error:
        require_pictures([good, tmp_path / "cut.png", tmp_path / "text.jpg", tmp_path / "gone.png"], threads=3)
    told = error.value.detail
    assert "3 bad picture(s)" in told
    assert all(f"{name}: " in told for name in ("cut.png", "text.jpg", "gone.png"))
    assert "good.png" not in told


def test_a_long_list_of_them_is_cut_and_counted(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as error:
        require_pictures(tmp_path / f"{number}.png" for number in range(MOST_TOLD + 5))
    assert error.value.detail.endswith("; and 5 more")
