from pathlib import Path

import numpy as np
import paddle
import pytest

from models.nets.lcnetv2 import PPLCNetV2, fused
from models.nets.named import NETWORKS, build
from models.nets.names import CLASSIFIERS, DETECTOR_ACTIVATIONS, DETECTOR_BACKBONES, UnknownNetworkError
from models.nets.pdparams import load_pdparams
from models.nets.picodet import ACTIVATIONS, BACKBONES
from tests.models.nets.checks import digest, official_digest, parameter_count
from tests.models.nets.seeded import fill, seeded_state

# The sizes of PaddleClas' tables, in millions; PP-LCNetV2's are of the fused network. Small and large are in no table.
PUBLISHED_MILLIONS = {
    "PPLCNet_x0_25": 1.5,
    "PPLCNet_x0_35": 1.6,
    "PPLCNet_x0_5": 1.9,
    "PPLCNet_x0_75": 2.4,
    "PPLCNet_x1_0": 3.0,
    "PPLCNet_x1_5": 4.5,
    "PPLCNet_x2_0": 6.5,
    "PPLCNet_x2_5": 9.0,
    "PPLCNetV2_base": 6.6,
    "ResNet50_vd": 25.6,
}


@pytest.mark.parametrize(("name", "millions"), PUBLISHED_MILLIONS.items())
def test_every_network_has_its_published_size(name: str, millions: float) -> None:
    network = build(name)
    served = fused(network) if isinstance(network, PPLCNetV2) else network
    assert parameter_count(served) / 1e6 == pytest.approx(millions, abs=0.06)


def test_the_table_names_only_networks_that_exist_and_the_rest_grow_in_order() -> None:
    assert set(PUBLISHED_MILLIONS) == set(NETWORKS) - {"PPLCNetV2_small", "PPLCNetV2_large"}
    sizes = [parameter_count(build(f"PPLCNetV2_{size}")) for size in ("small", "base", "large")]
    assert sizes == sorted(sizes)
    assert digest(build("PPLCNetV2_base")) == official_digest("PPLCNetV2_base")


def test_the_names_that_recipes_are_read_by_are_those_of_the_networks() -> None:
    assert tuple(NETWORKS) == CLASSIFIERS
    assert (tuple(BACKBONES), tuple(ACTIVATIONS)) == (DETECTOR_BACKBONES, DETECTOR_ACTIVATIONS)


def test_weights_load_under_a_published_name_without_any_mapping(tmp_path: Path) -> None:
    saved = build("PPLCNet_x0_25")
    fill(saved, seeded_state(saved, seed=5))
    paddle.save(saved.state_dict(), str(tmp_path / "PPLCNet_x0_25_pretrained.pdparams"))
    loaded = build("PPLCNet_x0_25")
    load_pdparams(loaded, tmp_path / "PPLCNet_x0_25_pretrained.pdparams")
    for name, value in saved.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[name].numpy(), value.numpy(), err_msg=name)


def test_without_classes_a_network_gives_its_features() -> None:
    network = build("PPLCNetV2_small", class_num=None)
    network.eval()
    assert tuple(network(paddle.zeros([1, 3, 32, 32])).shape) == (1, 1280)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("pplcnet_x1_0", "did you mean PPLCNet_x1_0"),
        ("PPLCNetV2_medium", "PPLCNetV2_"),
        ("ResNet50", "did you mean ResNet50_vd"),
        ("zzz", "there are PPLCNet_x0_25, "),
    ],
)
def test_an_unknown_name_is_answered_with_names_that_exist(wrong: str, hint: str) -> None:
    with pytest.raises(UnknownNetworkError, match=hint):
        build(wrong)
