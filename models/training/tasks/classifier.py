"""Train a classifier by its recipe: read it in one go, from the network to the last checkpoint."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import paddle
from paddle import nn

from models.nets.named import build
from models.nets.pdparams import ParameterError, load_pdparams, read_pdparams
from models.training.data.class_batches import ClassBatches
from models.training.data.class_data import gather
from models.training.engine.checkpoint import Checkpoint, fill, to_arrays
from models.training.engine.cpu_convolution import accelerate, keep_freed_memory
from models.training.engine.loop import Progress
from models.training.engine.prefetch import ahead
from models.training.engine.processes import Group
from models.training.engine.run import Evaluated, Run, score_of, take_step
from models.training.engine.schedule import MovingAverage, cosine_learning_rate
from models.training.engine.synchronised_norm import synchronise_norms
from models.training.errors import TrainingError
from models.training.recipes.classifier import ClassifierRecipe, ClassOptimizer
from models.training.tasks.classifier_distillation import TeacherTargets
from models.training.tasks.classifier_evaluation import evaluate


def train_classifier(
    recipe: ClassifierRecipe,
    data: Path | None,
    out: Path,
    report: Callable[[Progress], None],
    prepare: Callable[[str, int, int], None],
    *,
    threads: int = 1,
    init: Path | None = None,
    stop_after: int | None = None,
) -> Path:
    """Run `recipe` to its end, or go on where `out/last.npz` stands. Returns `out/best.npz`.

    A new run starts from the weights of `init` if given (see `start_from`), else from random ones. `data` is the folder
    that photo sources are relative to. `stop_after` ends the run early after that many steps in all, as a kill would, but
    with a checkpoint. Raises TrainingError, DatasetError, ArtifactError.
    """
    keep_freed_memory()
    group = Group.from_environment()
    pictures = gather(recipe, data, prepare, threads)
    make = ClassBatches(recipe, pictures.training, group.rank, group.size)
    steps, evaluate_every = recipe.epochs * make.sampler.steps, recipe.evaluate_every * make.sampler.steps
    warmup = round(recipe.optimizer.warmup_epochs * make.sampler.steps)
    paddle.seed(recipe.seed)
    # The optimiser keeps its state by names: the guards give each run the same ones, whatever ran before in this process.
    with paddle.utils.unique_name.guard():
        network = build(recipe.network, len(pictures.names))
        lesson = TeacherTargets(recipe, len(pictures.names), data, threads)
        learners = nn.LayerList([network, lesson])
        optimizer = make_optimizer(learners, recipe.optimizer)
    eval_model = build(recipe.network, len(pictures.names))
    for each in (network, eval_model, lesson):
        accelerate(each, threads)
    for each in (network, lesson):
        synchronise_norms(each, group)
    if init is not None:
        start_from(network, init)
    average = MovingAverage(network, recipe.optimizer.ema_decay)
    parts_of_run = {"classifier": network, "lesson": lesson, "optimizer": optimizer, "average": average}
    run = Run(out, recipe, parts_of_run, group, report, steps, evaluate_every, stop_after=stop_after)

    def evaluated(done: int) -> Evaluated:
        eval_model.set_state_dict(average.values)
        metrics = evaluate(eval_model, pictures.eval, recipe.deploy_px, threads)
        first = {name: figures["top1"] for name, figures in metrics.items()}
        progress = {"step": done, "eval": metrics, "names": pictures.names}
        kept = Checkpoint({"classifier": to_arrays(eval_model.state_dict())}, progress)
        return Evaluated(metrics, score_of(first, recipe.select_by, done), kept)

    with closing(ahead(make, run.steps, threads)) as source, paddle.utils.unique_name.guard():
        for step, batch in zip(run.steps, source, strict=True):
            paddle.seed((recipe.seed * group.size + group.rank) * steps + step)  # a resumed run drops out the same
            optimizer.set_lr(cosine_learning_rate(step, steps, recipe.optimizer.learning_rate, warmup))
            network.train()
            lesson.train()
            values = take_step(lesson(network, batch), step, learners, optimizer, group)
            average.update(network, step)
            left = make.sampler.pictures_before(run.last) - make.sampler.pictures_before(step + 1)
            run.after(step, values, len(batch.labels) * group.size, left, network, evaluated)
    return out / "best.npz"


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
    """Put another run's `best.npz`, or official `.pdparams`, into `network`; a last layer of other classes is passed over.

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
