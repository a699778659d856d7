import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import paddle
import pytest

from models.nets.embedding import EmbedderV2
from models.nets.lcnet import PPLCNet
from models.nets.pdparams import ParameterError, load_pdparams, read_pdparams
from tests.models.nets.seeded import fill, seeded_state

Array = np.ndarray


def small() -> PPLCNet:
    return PPLCNet(0.25, class_num=3, class_expand=16)


def arrays(seed: int = 1) -> dict[str, Array]:
    return dict(seeded_state(small(), seed))


@pytest.mark.parametrize("protocol", [2, 4])
def test_loads_what_paddle_saves(tmp_path: Path, protocol: int) -> None:
    saved, loaded = small(), small()
    fill(saved, arrays())
    paddle.save(saved.state_dict(), str(tmp_path / "net.pdparams"), protocol=protocol)
    load_pdparams(loaded, tmp_path / "net.pdparams")
    for name, value in saved.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[name].numpy(), value.numpy(), err_msg=name)


def test_loads_files_written_with_numpy_1(tmp_path: Path) -> None:
    content = pickle.dumps(OrderedDict(weight=np.arange(3, dtype=np.float32)), protocol=2)
    assert b"numpy._core" in content
    (tmp_path / "old.pdparams").write_bytes(content.replace(b"numpy._core", b"numpy.core"))
    np.testing.assert_array_equal(read_pdparams(tmp_path / "old.pdparams")["weight"], [0, 1, 2])


def test_names_that_paddle_keeps_too_are_no_parameters(tmp_path: Path) -> None:
    content = {**arrays(), "StructuredToParameterName@@": {"fc.weight": "linear_0.w_0"}}
    (tmp_path / "net.pdparams").write_bytes(pickle.dumps(content))
    load_pdparams(small(), tmp_path / "net.pdparams")


def test_a_head_may_be_ignored(tmp_path: Path) -> None:
    network = EmbedderV2(0.25, (1, 1, 1, 1), embedding_size=16)
    content = {**seeded_state(network, 2), "head.weight": np.zeros((16, 100), np.float32)}
    path = tmp_path / "net.pdparams"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ParameterError, match=r"unexpected head\.weight"):
        load_pdparams(network, path)
    load_pdparams(network, path, ignore=("head.",))
    np.testing.assert_array_equal(network.backbone.last_conv.bias.numpy(), content["backbone.last_conv.bias"])


def test_every_disagreement_is_reported_at_once_and_nothing_is_loaded(tmp_path: Path) -> None:
    content = arrays()
    del content["conv1.bn._mean"]
    content["surplus"] = np.zeros(2, np.float32)
    content["fc.weight"] = np.zeros((16, 4), np.float32)
    path = tmp_path / "net.pdparams"
    path.write_bytes(pickle.dumps(content))
    network = small()
    before = network.conv1.conv.weight.numpy().copy()
    with pytest.raises(ParameterError) as caught:
        load_pdparams(network, path)
    message = str(caught.value)
    assert "missing conv1.bn._mean" in message
    assert "unexpected surplus" in message
    assert "fc.weight has shape (16, 4), expected (16, 3)" in message
    assert "more" not in message
    np.testing.assert_array_equal(network.conv1.conv.weight.numpy(), before)


def test_weights_of_another_network_are_reported_by_every_name(tmp_path: Path) -> None:
    path = tmp_path / "net.pdparams"
    path.write_bytes(pickle.dumps(dict(seeded_state(EmbedderV2(0.25, (1, 1, 1, 1), embedding_size=16), 2))))
    with pytest.raises(ParameterError) as caught:
        load_pdparams(small(), path)
    names = [f"missing {name}" for name in small().state_dict()]
    names += [f"unexpected {name}" for name in EmbedderV2(0.25, (1, 1, 1, 1), embedding_size=16).state_dict()]
    assert str(caught.value) == "net.pdparams does not fit PPLCNet: " + "; ".join(names)


@pytest.mark.parametrize("prefix", ["_layers.", "module."])
def test_prefixes_of_their_trainer_are_left_out(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "net.pdparams"
    path.write_bytes(pickle.dumps({prefix + name: array for name, array in arrays().items()}))
    assert read_pdparams(path).keys() == arrays().keys()


def test_of_a_distillation_the_student_is_taken(tmp_path: Path) -> None:
    path, student = tmp_path / "net.pdparams", arrays()
    teacher = {f"Teacher.{name}": np.zeros(1, np.float32) for name in student}
    path.write_bytes(pickle.dumps({**teacher, **{f"Student.{name}": array for name, array in student.items()}}))
    read = read_pdparams(path)
    assert read.keys() == student.keys()
    np.testing.assert_array_equal(read["fc.weight"], student["fc.weight"])


class Touch:
    """Unpickling this with plain pickle makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_file_that_names_anything_but_arrays_runs_nothing(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    path = tmp_path / "evil.pdparams"
    path.write_bytes(pickle.dumps({"weight": Touch(target)}))
    with pytest.raises(ParameterError, match="not part of any array"):
        read_pdparams(path)
    assert not target.exists()
    pickle.loads(path.read_bytes())
    assert target.exists()  # the file was a real attack


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        pickle.dumps(arrays())[:-1000],
        pickle.dumps([1, 2]),
        pickle.dumps({"weight": "text"}),
        pickle.dumps({"weight": np.array([object], dtype=object)}),
        pickle.dumps({1: np.zeros(2)}),
    ],
    ids=["empty", "garbage", "truncated", "list", "text", "objects", "numbered"],
)
def test_files_of_anything_else_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pdparams").write_bytes(content)
    with pytest.raises(ParameterError):
        read_pdparams(tmp_path / "bad.pdparams")
