"""DeepHash on rendered products: each loss ends better than it began, and is exported for both engines."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.embedder import Embedder
from models.errors import ArtifactError
from models.evaluation.eval_sets import load_eval_sets
from models.export.hash import export_hash
from models.export.network import Origin
from models.galleries.binary import binarize
from models.training.data.pool import load_pool
from models.training.engine.checkpoint import Checkpoint
from models.training.engine.fit import fit
from models.training.engine.loop import Progress
from models.training.recipes.hash import HashLoss, HashRecipe
from models.training.recipes.pictures import Stage
from models.training.recipes.reading import RecipeError, load_recipe
from models.training.tasks.hash import HashTask
from models.training.tasks.hash_evaluation import baselines, evaluate_hash
from models.training.tasks.hash_features import Features, known_features
from tests.models.training import several_hash
from tests.models.training.two_processes import run_in_two

TINY = load_recipe("hash-tiny", HashRecipe)
SHORT = replace(TINY, stages=(Stage(8, 32, 16),), evaluate_every=4, eval=(replace(TINY.eval[0], products=4),))


def quiet(*_: object) -> None:
    """Hears nothing."""


def projection_of(base: Path, kind: str = "dshsd", bits: int = 32) -> HashRecipe:
    """The tiny recipe after a frozen embedder, whose picture size it takes."""
    network = replace(TINY.network, kind="projection", base=str(base), bits=bits, augmented_views=2)
    loss = HashLoss(kind, alpha=0.01, keep=1.0)
    return replace(TINY, network=network, loss=loss, stages=(Stage(40, 32, 32),), evaluate_every=20)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hash") / "run"
    fit(HashTask, SHORT, None, folder, quiet, quiet, stop_after=1)
    return folder / "pool"


@pytest.fixture
def folder(pool: Path, tmp_path: Path) -> Path:
    return folder_with(pool, tmp_path / "run")


def folder_with(pool: Path, folder: Path) -> Path:
    folder.mkdir()
    (folder / "pool").symlink_to(pool)
    return folder


def run(recipe: HashRecipe, folder: Path, **options: int) -> list[Progress]:
    lines: list[Progress] = []
    fit(HashTask, recipe, None, folder, lines.append, quiet, **options)
    return lines


def test_pictures_learn_codes(folder: Path) -> None:
    recipe = replace(TINY, stages=(Stage(24, 32, 24),), evaluate_every=8)
    lines = run(recipe, folder)
    assert lines[-1].losses["class"] < 0.95 * lines[0].losses["class"]
    assert lines[-1].eval["rendered"]["retrieval_mAP"] > lines[0].eval["rendered"]["retrieval_mAP"]


@pytest.mark.parametrize("kind", ["dshsd", "lcdsh", "dch"])
def test_a_projection_learns_by_each_loss(kind: str, tiny_artifact: Path, folder: Path) -> None:
    recipe = projection_of(tiny_artifact, kind)
    recipe = replace(recipe, network=replace(recipe.network, rotated=False), loss=HashLoss(kind, alpha=0.01))
    lines = run(replace(recipe, optimizer=replace(recipe.optimizer, learning_rate=0.05)), folder)
    assert sum(lines[-1].losses.values()) < 0.98 * sum(lines[0].losses.values())
    stored = Checkpoint.load(folder / "best.npz")
    assert set(stored.groups) == {"hash"}  # no head
    assert set(stored.groups["hash"]) == {"fc.weight", "fc.bias"}


def test_a_resumed_projection_is_not_rotated_again(tiny_artifact: Path, pool: Path, tmp_path: Path) -> None:
    recipe = replace(projection_of(tiny_artifact), stages=SHORT.stages, evaluate_every=4, eval=SHORT.eval)
    whole, parted = (folder_with(pool, tmp_path / name) for name in ("whole", "parted"))
    lines = run(recipe, whole)
    again = [*run(recipe, parted, stop_after=4), *run(recipe, parted)]
    assert [line.step for line in again] == [line.step for line in lines] == [4, 8]
    for one, two in zip(lines, again, strict=True):
        assert one.losses == pytest.approx(two.losses, rel=1e-4)
    uninterrupted, resumed = (Checkpoint.load(folder / "last.npz").groups for folder in (whole, parted))
    for group, arrays in uninterrupted.items():
        for name, array in arrays.items():
            np.testing.assert_allclose(array, resumed[group][name], rtol=1e-4, atol=1e-6, err_msg=f"{group}/{name}")


def test_a_projection_is_exported_with_its_base_and_both_engines_give_its_codes(
    tiny_artifact: Path, folder: Path, tmp_path: Path
) -> None:
    recipe = projection_of(tiny_artifact)
    run(recipe, folder)
    artifact = export_hash(recipe, folder / "best.npz", tmp_path / "artifact", Origin(["synthetic"], {}, {}))
    dice = np.random.default_rng(0)
    crops = [dice.integers(0, 256, (40, 30, 3)).astype(np.uint8) for _ in range(8)]
    both = [Embedder(artifact, engine)(crops) for engine in ("openvino", "paddle")]
    np.testing.assert_allclose(both[0], both[1], atol=1e-4)
    stored = Checkpoint.load(folder / "best.npz").groups["hash"]
    expected = Embedder(tiny_artifact)(crops) @ stored["fc.weight"] + stored["fc.bias"]
    certain = np.abs(expected) > 1e-3  # nearer to 0, rounding decides
    assert certain.mean() > 0.95
    np.testing.assert_array_equal((both[0] > 0)[certain], (expected > 0)[certain])
    assert binarize(both[0]).shape == (8, 4)
    metrics = evaluate_hash(artifact, recipe, None)
    report = Checkpoint.load(folder / "best.npz").progress["eval"]["rendered"]
    assert metrics["rendered recall@1"] == pytest.approx(report["recall@1"], abs=0.05)


def test_what_the_base_says_is_kept_until_the_base_or_the_pictures_change(
    tiny_artifact: Path, pool: Path, tmp_path: Path
) -> None:
    recipe, views, file = replace(projection_of(tiny_artifact), eval=SHORT.eval), load_pool(pool), tmp_path / "f.npz"
    splits, report = load_eval_sets(recipe.pictures, None, recipe.deploy_px), list[str]()

    def known(recipe: HashRecipe) -> Features:
        return known_features(recipe, tiny_artifact, views, splits, None, file, lambda what, *_: report.append(what), 1)

    first = known(recipe)
    assert first.rows.shape == (2 * len(views.views), 64)
    assert set(report) == {"embeddings", "eval"}
    report.clear()
    again = known(recipe)
    assert not report
    np.testing.assert_array_equal(first.rows, again.rows)
    np.testing.assert_array_equal(first.eval[0].rows, again.eval[0].rows)
    known(replace(recipe, seed=2))
    assert report
    scores = baselines(first, 32)
    assert set(scores) == {"embeddings", "signs", "itq"}
    assert all(0 <= metric <= 1 for taker in scores.values() for metric in taker.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('bits = 48\nkind = "guess"', "must be one of"),
        ("bits = 44", "multiple of 8"),
        ('bits = 48\nkind = "projection"', "needs the embedder 'base'"),
        ('bits = 48\nbase = "shitu-embedder"', "needs the embedder 'base'"),
    ],
)
def test_what_does_not_fit_together_is_reported_early(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    rest = '[loss]\nkind = "dch"\n[[data]]\nkind = "rendered"\nname = "x"\nproducts = 1\n[[stages]]\nsteps = 1\nsize_px = 32\n'
    path.write_text(f'name = "x"\n{rest}[network]\n{text}\n', encoding="utf-8")
    with pytest.raises(RecipeError, match=said):
        load_recipe(str(path), HashRecipe)


def test_a_wrong_base_is_reported(pool: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="There is no model"):
        run(projection_of(tmp_path / "nothing"), folder)


def test_bundled_recipes_read() -> None:
    assert load_recipe("hash-small", HashRecipe).network.base == "shitu-embedder"


@pytest.mark.slow
def test_two_processes_reach_the_weights_of_one_with_the_whole_batch(
    tiny_artifact: Path, pool: Path, tmp_path: Path
) -> None:
    alone, together = (folder_with(pool, tmp_path / name) for name in ("alone", "together"))
    several_hash.train(tiny_artifact, alone)
    run_in_two(several_hash.__file__, tmp_path / "logs", tiny_artifact, together)
    one, two = (Checkpoint.load(out / "last.npz").groups["module"] for out in (alone, together))
    assert one.keys() == two.keys() != set()
    for name, array in one.items():
        np.testing.assert_allclose(two[name], array, rtol=1e-4, atol=1e-5, err_msg=name)
    logs = [(out / "curve.jsonl").read_text(encoding="utf-8").splitlines() for out in (alone, together)]
    assert len(logs[0]) == len(logs[1]) == 1  # only the first process writes
