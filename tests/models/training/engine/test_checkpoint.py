"""Checkpoints: what is saved comes back, and a save that fails leaves the one before."""

import stat
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn

from models.errors import ArtifactError
from models.training.engine.checkpoint import Checkpoint, to_arrays, to_tensors


def some(step: int) -> Checkpoint:
    rng = np.random.default_rng(step)
    groups = {
        "student": {"embedder.conv/0.weight": rng.normal(size=(3, 2)).astype(np.float32), "count": np.array(7)},
        "average": {"mean": rng.normal(size=4)},
    }
    return Checkpoint(groups, {"step": step, "best": 0.25, "eval": {"größe": 1.0}, "recipe": {"depths": [1, 2]}})


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "last.npz"
    some(3).save(path)
    some(4).save(path)
    back = Checkpoint.load(path)
    assert back.progress == some(4).progress
    assert {name: set(arrays) for name, arrays in back.groups.items()} == {
        name: set(arrays) for name, arrays in some(4).groups.items()
    }
    for group, arrays in some(4).groups.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(back.groups[group][name], array)
            assert back.groups[group][name].dtype == array.dtype
    assert [file.name for file in tmp_path.iterdir()] == ["last.npz"]


def test_a_save_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "last.npz"
    some(3).save(path)
    before = path.read_bytes()
    broken = Checkpoint({"a": {"fine": np.zeros(100_000), "object": np.array([{}], dtype=object)}}, {})
    with pytest.raises(ValueError, match="allow_pickle"):
        broken.save(path)
    assert path.read_bytes() == before
    some(5).save(path)  # and the remains of the failed one are in nobody's way
    assert Checkpoint.load(path).progress["step"] == 5


def test_the_old_file_is_replaced_and_never_written_into(tmp_path: Path) -> None:
    path = tmp_path / "last.npz"
    some(3).save(path)
    path.chmod(stat.S_IRUSR)
    inode = path.stat().st_ino
    with path.open("rb") as reader:
        some(4).save(path)
        reader.seek(0)
        with np.load(reader) as old:
            np.testing.assert_array_equal(old["average/mean"], some(3).groups["average"]["mean"])
    assert path.stat().st_ino != inode


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "foreign", "folder"])
def test_what_is_no_whole_checkpoint_is_reported(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "last.npz"
    some(3).save(path)
    whole = path.read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage == "foreign":
        np.savez(path, weights=np.zeros(3))
    else:
        middle = whole.index(b"NUMPY") + 140
        flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
        path.write_bytes({"cut": whole[:-40], "flipped": flipped, "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(ArtifactError, match=r"last\.npz is damaged, or no checkpoint"):
        Checkpoint.load(path)


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"there is no checkpoint .*best\.npz") as error:
        Checkpoint.load(tmp_path / "best.npz")
    assert error.value.code == "artifact_missing"


def test_a_networks_state_goes_through_arrays() -> None:
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    state = {**first.state_dict(), "LR_Scheduler": {"last_epoch": 3}}
    arrays = to_arrays(state)
    assert set(arrays) == {"weight", "bias"}
    missing, unexpected = second.set_state_dict(to_tensors(arrays))
    assert not missing
    assert not unexpected
    x = paddle.to_tensor(np.ones((1, 3), np.float32))
    np.testing.assert_array_equal(first(x).numpy(), second(x).numpy())
