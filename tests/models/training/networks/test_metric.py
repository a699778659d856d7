"""The parts of a metric-learning network, put together as a recipe names them, and what its optimiser decays."""

from dataclasses import replace

import paddle
import pytest

from models.training.networks.metric import MetricEmbedder, MetricModule
from models.training.recipes.metric import Backbone, BackboneStopLayer, MetricOptimizer, Neck
from models.training.recipes.reading import RecipeError
from models.training.tasks.metric import make_optimizer
from tests.models.training.metric_tiny import QUICK


@pytest.mark.parametrize(
    ("backbone", "stop", "neck", "size", "names"),
    [
        (QUICK.backbone, "flatten", Neck("bnneck"), 64, {"neck.feat_bn.weight", "backbone.last_conv.bias"}),
        (QUICK.backbone, "avg_pool", Neck("fc", 24), 24, {"neck.fc.weight"}),
        (Backbone("lcnet", 0.25, class_expand=48), "flatten", Neck("fc", 32), 32, {"backbone.conv1.conv.weight"}),
        (Backbone("resnet50_vd"), "avg_pool", Neck("none"), 2048, set()),
    ],
)
def test_the_parts_are_put_together_as_named(
    backbone: Backbone, stop: str, neck: Neck, size: int, names: set[str]
) -> None:
    embedder = MetricEmbedder(replace(QUICK, backbone=backbone, stop_layer=BackboneStopLayer(stop), neck=neck))
    embedder.eval()
    assert embedder.size == size
    assert tuple(embedder(paddle.zeros([2, 3, 32, 32])).shape) == (2, size)
    assert names <= set(embedder.state_dict())
    assert ("backbone.last_conv.weight" in embedder.state_dict()) == (stop == "flatten")


def test_a_stop_layer_without_features_is_reported() -> None:
    with pytest.raises(RecipeError, match="stop_layer: 'stem' of PPLCNetV2 gives a map"):
        MetricEmbedder(replace(QUICK, stop_layer=BackboneStopLayer("stem")))


def test_momentum_pulls_every_weight_to_zero_and_adamw_spares_the_norms() -> None:
    """By one step without any gradient but the decay's."""
    kept: dict[str, dict[str, float]] = {}
    for kind in ("momentum", "adamw"):
        paddle.seed(0)
        module = MetricModule(replace(QUICK, optimizer=MetricOptimizer(kind, 0.1, 0.01)), 5)
        before = {name: value.numpy().copy() for name, value in module.named_parameters()}
        for parameter in module.parameters():
            parameter.grad = paddle.zeros_like(parameter)
        make_optimizer(module, MetricOptimizer(kind, 0.1, 0.01)).step()
        kept[kind] = {
            name: float((value.numpy() / before[name]).mean())
            for name, value in module.named_parameters()
            if before[name].all()
        }
    for name in ("embedder.backbone.last_conv.weight", "head.weight"):
        assert kept["momentum"][name] == pytest.approx(1 - 0.1 * 0.01, abs=1e-5)
        assert kept["adamw"][name] == pytest.approx(1 - 0.1 * 0.01, abs=1e-5)
    assert kept["momentum"]["embedder.neck.feat_bn.weight"] == pytest.approx(1 - 0.1 * 0.01, abs=1e-5)
    assert kept["adamw"]["embedder.neck.feat_bn.weight"] == 1.0
