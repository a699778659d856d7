"""The network of a metric-learning recipe: backbone up to its stop layer, neck, and for training the head and the losses."""

import paddle
from paddle import nn

from models.nets.lcnet import PPLCNet
from models.nets.lcnetv2 import PPLCNetV2
from models.nets.necks import BNNeck, FCNeck
from models.nets.stop_layer import StopLayerError, stop_after
from models.training.engine.processes import ALONE, Group
from models.training.losses.heads import FC, ArcMargin, CircleMargin, CosMargin
from models.training.losses.weighted import Outputs, WeightedLosses
from models.training.recipes.metric import Backbone, Head, MetricRecipe
from models.training.recipes.reading import RecipeError


class MetricEmbedder(nn.Layer):
    """What is served: backbone and neck, named as in PaddleClas' weights. (N, 3, H, W) -> (N, D), not normalised.

    Raises RecipeError for a stop layer that the backbone does not have. Call `lcnetv2.fused` before export.
    """

    def __init__(self, recipe: MetricRecipe) -> None:
        super().__init__()
        self.backbone = build_backbone(recipe.backbone)
        try:
            self.backbone_size = stop_after(self.backbone, recipe.stop_layer.name)
        except StopLayerError as error:
            raise RecipeError(f"stop_layer: {error}") from error
        self.size = recipe.neck.size if recipe.neck.kind == "fc" else self.backbone_size
        self.neck: nn.Layer
        if recipe.neck.kind == "fc":
            self.neck = FCNeck(self.backbone_size, self.size)
        else:
            self.neck = BNNeck(self.size) if recipe.neck.kind == "bnneck" else nn.Identity()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.neck(self.stopped(x))

    def stopped(self, x: paddle.Tensor) -> paddle.Tensor:
        """The features after the stop layer, (N, F)."""
        return self.backbone(x).flatten(start_axis=1)


class MetricModule(nn.Layer):
    """The training module: the embedder with what only training needs: a head over `classes`, and the losses with their memories.

    Of several processes each gives its own pictures; losses over pairs, and memories, see those of all.
    """

    def __init__(self, recipe: MetricRecipe, classes: int, group: Group = ALONE) -> None:
        super().__init__()
        self.embedder = MetricEmbedder(recipe)
        self.head = build_head(recipe.head, self.embedder.size, classes)
        self.losses = WeightedLosses(recipe.loss, classes, self.embedder.backbone_size, self.embedder.size, group)

    def forward(self, x: paddle.Tensor, labels: paddle.Tensor, step: int) -> dict[str, paddle.Tensor]:
        losses: dict[str, paddle.Tensor] = self.losses(self.outputs(x, labels), labels, step)
        return losses

    def outputs(self, x: paddle.Tensor, labels: paddle.Tensor) -> Outputs:
        """What backbone, neck and head give, before the losses."""
        backbone = self.embedder.stopped(x)
        features = self.embedder.neck(backbone)
        return Outputs(backbone, features, None if self.head is None else self.head(features, labels))


def build_backbone(table: Backbone) -> nn.Layer:
    """The network that a recipe's `[backbone]` names, without a classifier."""
    if table.kind == "resnet50_vd":
        from models.nets.resnet_vd import ResNet50_vd

        return ResNet50_vd(class_num=None)
    if table.kind == "lcnet":
        return PPLCNet(table.width, class_num=None, class_expand=table.class_expand, dropout=table.dropout)
    return PPLCNetV2(
        table.width,
        table.depths,
        class_num=None,
        class_expand=table.class_expand,
        dropout=table.dropout,
        use_shitu_last_stage=table.shitu_last_stage,
    )


def build_head(table: Head, size: int, classes: int) -> nn.Layer | None:
    """The head that a recipe's `[head]` names."""
    if table.kind == "arcmargin":
        return ArcMargin(size, classes, table.margin, table.scale, easy_margin=table.easy_margin)
    if table.kind == "cosmargin":
        return CosMargin(size, classes, table.margin, table.scale)
    if table.kind == "circlemargin":
        return CircleMargin(size, classes, table.margin, table.scale)
    return FC(size, classes) if table.kind == "fc" else None
