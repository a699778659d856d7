"""ESNet: the maps' strides and channels, PicoDet-S's published widths, and how halves are interleaved."""

import numpy as np
import paddle

from models.nets.esnet import ESNet, ShuffleBlock
from models.nets.names import STRIDES
from models.nets.picodet import PicoDet
from tests.models.nets.checks import parameter_count, parameters_without_gradient
from tests.models.nets.seeded import seeded_images


def test_the_maps_have_picodet_s_channels_at_strides_8_16_and_32() -> None:
    backbone = ESNet(0.75)
    backbone.eval()
    maps = backbone(paddle.zeros([1, 3, 64, 96]))
    assert [tuple(level.shape) for level in maps] == [(1, 96, 8, 12), (1, 192, 4, 6), (1, 384, 2, 3)]
    assert backbone.out_channels == (96, 192, 384)


def test_inner_widths_are_those_of_the_official_export() -> None:
    backbone = ESNet(0.75)
    assert [
        block.pw_2.conv.weight.shape[0] for block in (backbone.stage8[0], backbone.stage16[0], backbone.stage32[0])
    ] == [
        44,
        48,
        96,
    ]
    assert [block.pw.conv.weight.shape[0] for block in list(backbone.stage16)[1:]] == [60, 48, 60, 48, 48, 48]


def test_picodet_s_has_a_million_parameters_and_trains_all_of_them() -> None:
    detector = PicoDet(0.75, neck_channels=96, neck_kernel=5, head_convs=2, backbone="esnet")
    assert 0.9e6 < parameter_count(detector) < 1.1e6
    levels = detector(paddle.to_tensor(seeded_images(0, count=2, side=64)))
    assert len(levels) == len(STRIDES)
    loss = sum(level.class_logits.square().mean() + level.distance_logits.square().mean() for level in levels)
    assert parameters_without_gradient(detector, loss) == []


def test_halves_are_interleaved_channel_by_channel() -> None:
    block = ShuffleBlock(8, 8)
    block.eval()
    x = paddle.to_tensor(np.random.default_rng(1).normal(size=(1, 8, 4, 4)).astype(np.float32))
    answer = block(x).numpy()
    np.testing.assert_array_equal(answer[:, 0::2], x.numpy()[:, :4])  # those that pass by
    assert not np.isclose(answer[:, 1::2], x.numpy()[:, 4:]).all()
