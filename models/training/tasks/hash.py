"""Train a network for binary codes: read it in one go, from the pictures or their embeddings to the last checkpoint."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import paddle
from paddle import nn

from models.artifacts.folders import resolve
from models.evaluation.eval_sets import EvalSet, load_eval_sets
from models.training.data.pool import Pool, build_pool, load_pool, require_sources
from models.training.engine.checkpoint import Checkpoint, to_arrays
from models.training.engine.cpu_convolution import accelerate, keep_freed_memory
from models.training.engine.loop import Progress
from models.training.engine.processes import Group
from models.training.engine.run import Evaluated, Run, score_of, take_step
from models.training.engine.schedule import cosine_learning_rate
from models.training.engine.synchronised_norm import synchronise_norms
from models.training.networks.embedder import embed_with
from models.training.networks.hash import Hasher, Projection, build_network
from models.training.networks.itq import itq
from models.training.recipes.hash import HashRecipe
from models.training.tasks.hash_batches import changed_pictures, known_rows
from models.training.tasks.hash_evaluation import grade_codes
from models.training.tasks.hash_features import EmbeddedEvalSet, Features, embedded_eval_sets, known_features
from models.training.tasks.metric import make_optimizer
from models.training.tasks.precise_bn import settle_statistics

SETTLE_PICTURES = 1024


def train_hash(
    recipe: HashRecipe,
    data: Path | None,
    out: Path,
    report: Callable[[Progress], None],
    prepare: Callable[[str, int, int], None],
    *,
    threads: int = 1,
    stop_after: int | None = None,
) -> Path:
    """Run `recipe` to its end, or go on where `out/last.npz` stands. Returns `out/best.npz`.

    `data` is the folder that photo sources are relative to. A projection's base is run once over all pictures and its
    answers kept in `out/features.npz`; with another base they are made anew, and the run must be too. Several processes
    share each batch. `stop_after` ends the run early after that many steps in all, as a kill would, but with a checkpoint.
    Raises TrainingError, RecipeError, DatasetError, ArtifactError, EngineError.
    """
    keep_freed_memory()
    group = Group.from_environment()
    out.mkdir(parents=True, exist_ok=True)
    # First what may be wrong with the base and the eval sets: it is told before pictures are drawn.
    projected = recipe.network.kind == "projection"
    base = resolve(recipe.network.base) if projected else None
    require_sources(recipe.pictures, data)
    splits = load_eval_sets(recipe.pictures, data, recipe.deploy_px) if group.rank == 0 else []
    if group.rank == 0:
        build_pool(recipe.pictures, data, out / "pool", prepare, processes=threads)
    group.wait("pool")
    pool = load_pool(out / "pool")
    features = None
    if base is not None:
        if group.rank == 0:
            features = known_features(recipe, base, pool, splits, data, out / "features.npz", prepare, threads)
        group.wait("features")
        features = features or known_features(recipe, base, pool, splits, data, out / "features.npz", prepare, threads)
    paddle.seed(recipe.seed)
    # The optimiser keeps its state by names: the guards give each run the same ones, whatever ran before in this process.
    with paddle.utils.unique_name.guard():
        network = build_network(recipe.network, 0 if features is None else features.rows.shape[1])
        hasher = Hasher(recipe.network, recipe.loss, network, pool.classes, group)
        optimizer = make_optimizer(hasher, recipe.optimizer)
    accelerate(hasher, threads)
    synchronise_norms(hasher, group)
    parts_of_run = {"hasher": hasher, "optimizer": optimizer}
    run = Run(out, recipe, parts_of_run, group, report, recipe.steps, recipe.evaluate_every, stop_after=stop_after)
    if run.first == 0 and features is not None and isinstance(network, Projection) and recipe.network.rotated:
        network.begin_at(itq(features.rows, recipe.network.bits, recipe.seed), features.rows)
    eval_model: Judge = WholeJudge(recipe, pool, splits, threads) if features is None else RowJudge(features)

    def evaluated(done: int) -> Evaluated:
        taken, kept = eval_model(network)
        metrics = {eval_set.name: grade_codes(eval_set.rows, eval_set) for eval_set in taken}
        recalls = {name: figures["recall@1"] for name, figures in metrics.items()}
        checkpoint = Checkpoint({"hash": to_arrays(kept.state_dict())}, {"step": done, "eval": metrics})
        return Evaluated(metrics, score_of(recalls, recipe.select_by, done), checkpoint)

    if features is None:
        source = changed_pictures(recipe, out / "pool", run.first, group)
    else:
        source = known_rows(recipe, features, run.first, group)
    with closing(source), paddle.utils.unique_name.guard():
        for step, (x, labels) in zip(run.steps, source, strict=False):
            table = recipe.optimizer
            optimizer.set_lr(cosine_learning_rate(step, recipe.steps, table.learning_rate, table.warmup_steps))
            hasher.train()
            parts = hasher.losses(paddle.to_tensor(x), paddle.to_tensor(labels))
            values = take_step(parts, step, hasher, optimizer, group)
            left = sum(recipe.pictures.stage_at(later).batch for later in range(step + 1, run.last))
            run.after(step, values, len(labels) * group.size, left, hasher, evaluated)
    return out / "best.npz"


class RowJudge:
    """Evaluates a projection on what its base said of the eval sets' pictures."""

    def __init__(self, features: Features) -> None:
        self._eval_sets = features.eval

    def __call__(self, network: nn.Layer) -> tuple[list[EmbeddedEvalSet], nn.Layer]:
        """Each eval set's codes before signs, and the network to keep."""
        network.eval()
        with paddle.no_grad():
            return [
                replace(eval_set, rows=network(paddle.to_tensor(eval_set.rows)).numpy()) for eval_set in self._eval_sets
            ], network


class WholeJudge:
    """Evaluates a network of pictures by a copy with settled batch statistics, as it is to be served."""

    def __init__(self, recipe: HashRecipe, pool: Pool, splits: Sequence[EvalSet], threads: int) -> None:
        self._recipe, self._pool, self._splits, self._threads = recipe, pool, splits, threads
        self._copy = build_network(recipe.network)

    def __call__(self, network: nn.Layer) -> tuple[list[EmbeddedEvalSet], nn.Layer]:
        """Each eval set's codes before signs, and the network to keep."""
        self._copy.set_state_dict(network.state_dict())
        settle_statistics(self._copy, self._pool, self._recipe.deploy_px, self._recipe.seed, SETTLE_PICTURES)
        pictures = sum(len(split.images) for split in self._splits)
        embed = embed_with(self._copy, self._recipe.deploy_px, pictures, self._threads)
        return embedded_eval_sets(embed, self._splits), self._copy


Judge = RowJudge | WholeJudge
