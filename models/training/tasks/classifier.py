"""Train a classifier by its recipe: from labels, a frozen teacher's answers, or a peer's."""

from collections.abc import Generator
from pathlib import Path

import paddle
from paddle import nn

from models.nets.named import build
from models.nets.pdparams import ParameterError, load_pdparams, read_pdparams
from models.training.data.class_batches import ClassBatch, ClassBatches
from models.training.data.class_data import gather
from models.training.engine.checkpoint import Checkpoint, fill, to_arrays
from models.training.engine.fit import Context
from models.training.engine.prefetch import prefetch
from models.training.engine.run import Evaluated, score_of
from models.training.engine.schedule import AverageRule, MovingAverage, Schedule, cosine_learning_rate
from models.training.errors import TrainingError
from models.training.recipes.classifier import ClassifierRecipe, ClassOptimizer
from models.training.tasks.classifier_distillation import ClassifierModule, open_class_teacher
from models.training.tasks.classifier_evaluation import evaluate


class ClassifierTask:
    """See models.training.engine.fit.Task. `init` is as in `start_from`."""

    def __init__(self, recipe: ClassifierRecipe, context: Context) -> None:
        self.plan, self._context = recipe, context
        self._pictures = gather(recipe, context.data, context.prepare, context.threads)
        classes = len(self._pictures.names)
        self.eval_model = build(recipe.network, classes)
        if context.init is not None:
            start_from(self.eval_model, context.init)
        self._teacher = open_class_teacher(recipe.distill, classes, context.data, context.threads)
        self._make = ClassBatches(recipe, self._pictures.training, context.group.rank, context.group.size)
        sampler, table = self._make.sampler, recipe.optimizer
        steps, warmup = recipe.epochs * sampler.steps, round(table.warmup_epochs * sampler.steps)
        self.schedule = Schedule(
            recipe.seed,
            steps,
            recipe.evaluate_every * sampler.steps,
            lambda step: cosine_learning_rate(step, steps, table.learning_rate, warmup),
            sampler.pictures_before,
            AverageRule(table.ema_decay),
        )

    def build(self) -> ClassifierModule:
        """The classifier, and a peer where the recipe has one."""
        return ClassifierModule(self.plan, len(self._pictures.names), self._teacher)

    def optimizer(self, module: ClassifierModule) -> paddle.optimizer.Optimizer:
        """The recipe's."""
        return make_optimizer(module, self.plan.optimizer)

    def served(self, module: ClassifierModule) -> nn.Layer:
        """The classifier."""
        return module.student

    def start(self, module: ClassifierModule) -> None:
        """See `start_from`."""
        if self._context.init is not None:
            start_from(module.student, self._context.init)

    def batches(self, module: ClassifierModule, steps: range) -> Generator[ClassBatch, None, None]:
        """Every picture once an epoch."""
        return prefetch(self._make, steps, self._context.threads)

    def losses(
        self, module: ClassifierModule, batch: ClassBatch, step: int, average: MovingAverage
    ) -> dict[str, paddle.Tensor]:
        """See ClassifierModule."""
        losses: dict[str, paddle.Tensor] = module(batch)
        return losses

    def evaluate(self, done: int) -> Evaluated:
        """`top1` and `top5` of each eval set; the mean top-1 of `select_by` is the score."""
        recipe, network = self.plan, self.eval_model
        results = evaluate(network, self._pictures.eval, recipe.deploy_px, self._context.threads)
        top1 = {name: metrics["top1"] for name, metrics in results.items()}
        progress = {"step": done, "eval": results, "names": self._pictures.names}
        kept = Checkpoint({"classifier": to_arrays(network.state_dict())}, progress)
        return Evaluated(results, score_of(top1, recipe.select_by, done), kept)


def make_optimizer(network: nn.Layer, table: ClassOptimizer) -> paddle.optimizer.Optimizer:
    """The recipe's optimiser; batch norms are decayed only where it says so."""
    norms = {
        parameter.name
        for layer in network.sublayers()
        if isinstance(layer, nn.BatchNorm2D)
        for parameter in layer.parameters()
    }
    learning = [parameter for parameter in network.parameters() if not parameter.stop_gradient]
    spared = [parameter for parameter in learning if parameter.name in norms and not table.decay_norms]
    kept = [parameter for parameter in learning if parameter.name not in norms or table.decay_norms]
    groups = [{"params": kept, "weight_decay": table.weight_decay}]
    if spared:
        groups.append({"params": spared, "weight_decay": 0.0})
    if table.kind == "adamw":
        return paddle.optimizer.AdamW(table.learning_rate, parameters=groups)
    return paddle.optimizer.Momentum(table.learning_rate, 0.9, parameters=groups)


def start_from(network: nn.Layer, path: Path) -> None:
    """Put another run's `best.npz`, or official `.pdparams`, into `network`; a last layer of other classes is left out.

    Raises TrainingError or ArtifactError for another network's weights.
    """
    if path.suffix != ".pdparams":
        load_classifier(network, path)
        return
    try:
        theirs = read_pdparams(path).get("fc.bias")
        same = theirs is not None and theirs.shape == tuple(network.state_dict()["fc.bias"].shape)
        load_pdparams(network, path, ignore=() if same else ("fc.",))
    except ParameterError as error:
        raise TrainingError(str(error)) from error


def load_classifier(network: nn.Layer, path: Path) -> Checkpoint:
    """Put the weights of a run's `best.npz` into `network`; returns the checkpoint. Raises ArtifactError."""
    return fill(network, path, "classifier")
