"""The files are written here as PyTorch's older format has them: PyTorch itself is not among the locked packages."""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from models.errors import ArtifactError
from models.nets.pdparams import ParameterError
from models.nets.pretrained import pretrained_file, read_pretrained
from models.nets.torch_file import MAGIC, read_torch_file

STORAGES = {np.dtype("<f4"): "FloatStorage", np.dtype("<i8"): "LongStorage"}


class Named:
    """Pickled as a global of this name, whether or not there is one."""

    def __init__(self, module: str, name: str) -> None:
        self.line = f"c{module}\n{name}\n".encode()


class Writer(pickle._Pickler):  # the pure-Python one: its opcodes can be written by hand
    """Writes tensors as torch.save did: a call of `_rebuild_tensor_v2` on a storage that is named."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_named(self, value: Named) -> None:
        self.write(value.line)

    dispatch[Named] = save_named

    def persistent_id(self, value: Any) -> Any:
        return value.pid if isinstance(value, Storage) else None


class Storage:
    def __init__(self, array: np.ndarray, key: str) -> None:
        self.array = array
        self.pid = ("storage", Named("torch", STORAGES[array.dtype]), key, "cpu", array.size, None)


class Tensor:
    def __init__(self, storage: Storage, offset: int, sizes: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.parts = (storage, offset, sizes, strides, False, OrderedDict())


def save_tensor(writer: Writer, value: Tensor) -> None:
    writer.write(b"ctorch._utils\n_rebuild_tensor_v2\n")
    writer.save(value.parts)
    writer.write(pickle.REDUCE)


Writer.dispatch[Tensor] = save_tensor


def write(path: Path, tensors: dict[str, Any], storages: list[Storage], *, magic: int = MAGIC) -> None:
    with path.open("wb") as file:
        for head in (magic, 1001, {"protocol_version": 1001, "little_endian": True}):
            pickle.dump(head, file, 2)
        Writer(file, 2).dump(OrderedDict(tensors))
        pickle.dump([storage.pid[2] for storage in storages], file, 2)
        for storage in storages:
            file.write(struct.pack("<q", storage.array.size) + storage.array.tobytes())


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A file of these arrays, each in its own storage."""
    storages, tensors = [], {}
    for name, array in arrays.items():
        flat = np.ascontiguousarray(array, "<i8" if array.dtype.kind == "i" else "<f4")
        storages.append(Storage(flat.reshape(-1), str(len(storages))))
        strides = tuple(step // flat.itemsize for step in flat.strides) if array.ndim else ()
        tensors[name] = Tensor(storages[-1], 0, array.shape, strides)
    write(path, tensors, storages)


def test_reads_tensors_whole_shared_and_turned(tmp_path: Path) -> None:
    values = Storage(np.arange(12, dtype="<f4"), "1")
    counts = Storage(np.array([7], "<i8"), "2")
    tensors = {
        "kernel": Tensor(values, 0, (3, 4), (4, 1)),
        "turned": Tensor(values, 0, (4, 3), (1, 4)),
        "part": Tensor(values, 2, (2,), (1,)),
        "count": Tensor(counts, 0, (), ()),
    }
    write(tmp_path / "net.pth", tensors, [values, counts])
    arrays = read_torch_file(tmp_path / "net.pth")
    np.testing.assert_array_equal(arrays["kernel"], np.arange(12, dtype=np.float32).reshape(3, 4))
    np.testing.assert_array_equal(arrays["turned"], arrays["kernel"].T)
    np.testing.assert_array_equal(arrays["part"], [2, 3])
    assert arrays["count"] == 7


def test_a_tensor_that_reaches_out_of_its_storage_is_refused(tmp_path: Path) -> None:
    values = Storage(np.arange(4, dtype="<f4"), "1")
    for offset, sizes, strides in ((2, (3,), (1,)), (-1, (2,), (1,)), (3, (2,), (-1,))):
        write(tmp_path / "net.pth", {"far": Tensor(values, offset, sizes, strides)}, [values])
        with pytest.raises(ParameterError, match="out of its storage"):
            read_torch_file(tmp_path / "net.pth")


def test_nothing_that_a_file_names_is_run(tmp_path: Path) -> None:
    target = tmp_path / "made"
    (tmp_path / "net.pth").write_bytes(b"cos\nmkdir\n(V" + str(target).encode() + b"\ntR.")
    with pytest.raises(ParameterError, match="not part of any tensor"):
        read_torch_file(tmp_path / "net.pth")
    write(tmp_path / "late.pth", {"bad": Named("os", "system")}, [])
    with pytest.raises(ParameterError, match=r"os\.system"):
        read_torch_file(tmp_path / "late.pth")
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a newer file", b"\x80\x02K\x01."])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(ParameterError):
        read_torch_file(tmp_path / "net.pth")


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    values = Storage(np.arange(400, dtype="<f4"), "1")
    write(tmp_path / "net.pth", {"kernel": Tensor(values, 0, (400,), (1,))}, [values])
    whole = (tmp_path / "net.pth").read_bytes()
    (tmp_path / "net.pth").write_bytes(whole[:-400])
    with pytest.raises(ParameterError):
        read_torch_file(tmp_path / "net.pth")


def test_weights_come_from_a_package_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = Storage(np.arange(4, dtype="<f4"), "1")
    package = tmp_path / "some_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    write(package / "models" / "net.pth", {"kernel": Tensor(values, 0, (4,), (1,))}, [values])
    monkeypatch.syspath_prepend(str(tmp_path))
    assert read_pretrained("some-model")["kernel"].shape == (4,)
    assert pretrained_file("some_model/models/net.pth", tmp_path) == package / "models" / "net.pth"
    with pytest.raises(ArtifactError, match="pip install not-there-at-all"):
        read_pretrained("not-there-at-all")
    with pytest.raises(ArtifactError, match="no file"):
        read_pretrained("other.pth", tmp_path)
    (package / "models" / "net.pth").write_bytes(b"broken")
    with pytest.raises(ArtifactError):
        read_pretrained("some-model")
