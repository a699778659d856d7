"""Train a network for binary codes: a whole embedder on pictures, or a projection of a frozen base's embeddings."""

from collections.abc import Generator
from dataclasses import replace
from functools import partial

import paddle
from paddle import nn

from models.artifacts.folders import resolve
from models.evaluation.eval_sets import load_eval_sets
from models.training.data.pool import build_pool, load_pool, require_sources
from models.training.engine.checkpoint import Checkpoint, to_arrays
from models.training.engine.fit import Context
from models.training.engine.run import Evaluated, score_of
from models.training.engine.schedule import AverageRule, MovingAverage, Schedule, cosine_learning_rate, images_before
from models.training.networks.embedder import embed_with
from models.training.networks.hash import HashModule, Projection, build_network
from models.training.networks.itq import itq
from models.training.recipes.hash import HashRecipe
from models.training.tasks.hash_batches import Batch, augmented_batches, feature_batches
from models.training.tasks.hash_evaluation import code_metrics
from models.training.tasks.hash_features import EmbeddedEvalSet, Features, embedded_eval_sets, known_features
from models.training.tasks.metric import make_optimizer
from models.training.tasks.precise_bn import recompute_bn_statistics

BN_PICTURES = 1024


class HashTask:
    """See models.training.engine.fit.Task. It takes no `init`.

    A projection's base is run once over all pictures and its embeddings kept in `out/features.npz`; with another base
    they are made again, and the run must be too.
    """

    def __init__(self, recipe: HashRecipe, context: Context) -> None:
        self.plan, self._context = recipe, context
        data, group, out = context.data, context.group, context.out
        base = resolve(recipe.network.base) if recipe.network.kind == "projection" else None
        require_sources(recipe.pictures, data)
        self._eval_sets = load_eval_sets(recipe.pictures, data, recipe.deploy_px) if group.rank == 0 else []
        if group.rank == 0:
            build_pool(recipe.pictures, data, out / "pool", context.prepare, processes=context.threads)
        group.wait("pool")
        self._pool = pool = load_pool(out / "pool")
        self._features: Features | None = None
        if base is not None:
            file, prepare, threads = out / "features.npz", context.prepare, context.threads
            embed = partial(known_features, recipe, base, pool, self._eval_sets, data, file, prepare, threads)
            if group.rank == 0:
                self._features = embed()
            group.wait("features")
            self._features = self._features or embed()
        self.eval_model = self._network()
        table = recipe.optimizer
        self.schedule = Schedule(
            recipe.seed,
            recipe.steps,
            recipe.evaluate_every,
            lambda step: cosine_learning_rate(step, recipe.steps, table.learning_rate, table.warmup_steps),
            lambda step: images_before(recipe.stages, step),
            AverageRule(table.ema_decay),
        )

    def build(self) -> HashModule:
        """The network, and a head where the loss has one."""
        recipe, network = self.plan, self._network()
        return HashModule(recipe.network, recipe.loss, network, self._pool.classes, self._context.group)

    def optimizer(self, module: HashModule) -> paddle.optimizer.Optimizer:
        """The recipe's."""
        return make_optimizer(module, self.plan.optimizer)

    def served(self, module: HashModule) -> nn.Layer:
        """The network that gives codes."""
        return module.network

    def start(self, module: HashModule) -> None:
        """ITQ's rotation of the base's embeddings, where the recipe wants it."""
        recipe, network, features = self.plan, module.network, self._features
        if features is not None and isinstance(network, Projection) and recipe.network.rotated:
            network.start_at(itq(features.rows, recipe.network.bits, recipe.seed), features.rows)

    def batches(self, module: HashModule, steps: range) -> Generator[Batch, None, None]:
        """Augmented pictures, or embeddings of them that are known already."""
        if self._features is None:
            return augmented_batches(self.plan, self._context.out / "pool", steps.start, self._context.group)
        return feature_batches(self.plan, self._features, steps.start, self._context.group)

    def losses(self, module: HashModule, batch: Batch, step: int, average: MovingAverage) -> dict[str, paddle.Tensor]:
        """See HashModule."""
        x, labels = batch
        return module.losses(paddle.to_tensor(x), paddle.to_tensor(labels))

    def evaluate(self, done: int) -> Evaluated:
        """Metrics of the codes on each eval set; the mean recall@1 of `select_by` is the score."""
        results = {eval_set.name: code_metrics(eval_set.rows, eval_set) for eval_set in self._coded()}
        recalls = {name: metrics["recall@1"] for name, metrics in results.items()}
        kept = Checkpoint({"hash": to_arrays(self.eval_model.state_dict())}, {"step": done, "eval": results})
        return Evaluated(results, score_of(recalls, self.plan.select_by, done), kept)

    def _coded(self) -> list[EmbeddedEvalSet]:
        """The eval sets' codes before they are binarised."""
        recipe, network, features = self.plan, self.eval_model, self._features
        if features is not None:
            network.eval()
            with paddle.no_grad():
                return [replace(one, rows=network(paddle.to_tensor(one.rows)).numpy()) for one in features.eval]
        recompute_bn_statistics(network, self._pool, recipe.deploy_px, recipe.seed, BN_PICTURES)
        pictures = sum(len(eval_set.images) for eval_set in self._eval_sets)
        return embedded_eval_sets(
            embed_with(network, recipe.deploy_px, pictures, self._context.threads), self._eval_sets
        )

    def _network(self) -> nn.Layer:
        return build_network(self.plan.network, 0 if self._features is None else self._features.rows.shape[1])
