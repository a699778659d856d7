"""Train a network for binary codes: read it in one go, from the pictures or their embeddings to the last checkpoint."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import paddle
from paddle import nn

from models.training.checkpoint import Checkpoint, to_arrays
from models.training.cpu_convolution import accelerate, keep_freed_memory
from models.training.exams import set_exams
from models.training.hash_batches import changed_pictures, known_rows
from models.training.hash_exams import grade_codes, score_of
from models.training.hash_features import Features, KnownExam, known_exams, known_features
from models.training.hash_network import Hasher, Projection, build_network
from models.training.hash_recipe import HashRecipe
from models.training.itq import itq
from models.training.loop import Progress, RunLog, require_finite, require_numbers, resume_run, save_run
from models.training.pool import Pool, build_pool, load_pool
from models.training.schedule import cosine_learning_rate
from models.training.statistics import settle_statistics
from models.training.train_embedder import embed_with
from models.training.train_metric import make_optimizer

SAVE_EVERY, REPORT_EVERY = 250, 50  # steps
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
    answers kept in `out/features.npz`; with another base they are made anew, and the run must be too. `stop_after` ends the
    run early after that many steps in all, as a kill would, but with a checkpoint. Raises TrainingError, RecipeError,
    DatasetError, ArtifactError, EngineError.
    """
    keep_freed_memory()
    out.mkdir(parents=True, exist_ok=True)
    build_pool(recipe.pictures, data, out / "pool", prepare, processes=threads)
    pool = load_pool(out / "pool")
    features = None
    if recipe.network.kind == "projection":
        features = known_features(recipe, pool, data, out / "features.npz", prepare, threads)
    paddle.seed(recipe.seed)
    # The optimiser keeps its state by names: the guards give each run the same ones, whatever ran before in this process.
    with paddle.utils.unique_name.guard():
        network = build_network(recipe.network, 0 if features is None else features.rows.shape[1])
        hasher = Hasher(recipe.network, recipe.loss, network, pool.classes)
        optimizer = make_optimizer(hasher, recipe.optimizer)
    accelerate(hasher, threads)
    parts_of_run = {"hasher": hasher, "optimizer": optimizer}
    first, best = resume_run(out / "last.npz", recipe, parts_of_run)
    if first == 0 and features is not None and isinstance(network, Projection) and recipe.network.rotated:
        network.begin_at(itq(features.rows, recipe.network.bits, recipe.seed), features.rows)
    last = min(recipe.steps, stop_after or recipe.steps)
    if first >= last:
        return out / "best.npz"
    judge: Judge = WholeJudge(recipe, pool, data) if features is None else RowJudge(features)
    log = RunLog(out, recipe.steps, first, report)
    source = changed_pictures(recipe, out / "pool", first) if features is None else known_rows(recipe, features, first)
    with closing(source), paddle.utils.unique_name.guard():
        for step, (x, labels) in zip(range(first, last), source, strict=False):
            table = recipe.optimizer
            optimizer.set_lr(cosine_learning_rate(step, recipe.steps, table.learning_rate, table.warmup_steps))
            hasher.train()
            parts = hasher.losses(paddle.to_tensor(x), paddle.to_tensor(labels))
            values = {name: float(part) for name, part in parts.items()}
            require_finite(values, step)
            sum(parts.values(), paddle.zeros([])).backward()
            optimizer.step()
            optimizer.clear_grad()
            done = step + 1
            log.add(values, len(labels))
            examined = done % recipe.evaluate_every == 0 or done == last
            if examined or done % REPORT_EVERY == 0:
                require_numbers(hasher, done)
                speed, exams = log.speed(), None
                if examined:
                    exams, best = _keep_best(recipe, network, judge, done, best, out / "best.npz")
                log.tell(done, _pictures_between(recipe, done, last), speed, exams)
            if examined or done % SAVE_EVERY == 0:
                save_run(out / "last.npz", recipe, done, best, parts_of_run)
    return out / "best.npz"


class RowJudge:
    """Examines a projection on what its base said of the exams' pictures."""

    def __init__(self, features: Features) -> None:
        self._exams = features.exams

    def __call__(self, network: nn.Layer) -> tuple[list[KnownExam], nn.Layer]:
        """Each exam's codes before signs, and the network to keep."""
        network.eval()
        with paddle.no_grad():
            return [replace(exam, rows=network(paddle.to_tensor(exam.rows)).numpy()) for exam in self._exams], network


class WholeJudge:
    """Examines a network of pictures by a copy with settled batch statistics, as it is to be served."""

    def __init__(self, recipe: HashRecipe, pool: Pool, data: Path | None) -> None:
        self._recipe, self._pool = recipe, pool
        self._copy = build_network(recipe.network)
        self._sheets = set_exams(recipe.pictures, data, recipe.deploy_px)

    def __call__(self, network: nn.Layer) -> tuple[list[KnownExam], nn.Layer]:
        """Each exam's codes before signs, and the network to keep."""
        self._copy.set_state_dict(network.state_dict())
        settle_statistics(self._copy, self._pool, self._recipe.deploy_px, self._recipe.seed, SETTLE_PICTURES)
        return known_exams(embed_with(self._copy), self._sheets), self._copy


Judge = RowJudge | WholeJudge


def _keep_best(
    recipe: HashRecipe, network: nn.Layer, judge: Judge, step: int, best: float, path: Path
) -> tuple[dict[str, dict[str, float]], float]:
    """Examine the network; save it if none before was better than `best`. Without exams the last is kept."""
    taken, kept = judge(network)
    exams = {exam.name: grade_codes(exam.rows, exam) for exam in taken}
    score = score_of(exams, recipe.select_by) if exams else float(step)
    if score >= best:
        best = score
        Checkpoint({"hash": to_arrays(kept.state_dict())}, {"step": step, "exams": exams}).save(path)
    return exams, best


def _pictures_between(recipe: HashRecipe, first: int, last: int) -> int:
    return sum(recipe.pictures.stage_at(step).batch for step in range(first, last))
