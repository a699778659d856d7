"""The tiny detector recipe, run for real: it learns from boxes, from teachers and from its own average."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest

from models.errors import ArtifactError
from models.evaluation.detection_metrics import detector_metrics
from models.evaluation.detector_sets import eval_pictures
from models.export.trained import Origin, borrowed, export_detector
from models.nets.lcnet import PPLCNet
from models.training.data.detection_data import PictureSource, load_pool
from models.training.data.photos import DatasetError, read_rgb
from models.training.engine.checkpoint import Checkpoint
from models.training.engine.fit import fit
from models.training.engine.loop import Progress
from models.training.errors import TrainingError
from models.training.networks.detector import as_input, build_detector, detect_with, load_weights
from models.training.recipes.detector import DetectorEvalSource, DetectorOptimizer, DetectorRecipe, DetectorStage
from models.training.recipes.detector_tables import Distillation
from models.training.recipes.reading import load_recipe
from models.training.tasks.detector import DetectorTask
from models.training.teachers.pseudo_boxes import DetectorTeacher
from tests.models.training import several_detectors
from tests.models.training.two_processes import run_in_two

TINY = load_recipe("detector-tiny", DetectorRecipe)
# Few steps over a save, and an eval set that costs nothing.
QUICK = replace(
    TINY,
    data=(replace(TINY.data[0], count=8),),
    stages=(DetectorStage(6, (64,), 4), DetectorStage(4, (64, 128), 4)),
    eval=(replace(TINY.eval[0], count=2),),
    evaluate_every=5,
)


def train(recipe: DetectorRecipe, out: Path, stop_after: int | None = None) -> list[Progress]:
    lines: list[Progress] = []
    fit(DetectorTask, recipe, None, out, lines.append, lambda *_: None, stop_after=stop_after)
    return lines


def rectangles(folder: Path, count: int) -> None:
    """Photos of one bright rectangle in noise each, with VOC annotations."""
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    rng = np.random.default_rng(1)
    for number in range(count):
        image = rng.integers(40, 120, (64, 64, 3)).astype(np.uint8)
        w, h = (int(side) for side in rng.integers(20, 40, 2))
        x, y = int(rng.integers(0, 64 - w)), int(rng.integers(0, 64 - h))
        image[y : y + h, x : x + w] = (250, 220, int(rng.integers(180, 255)))
        cv2.imwrite(str(folder / "images" / f"{number:02}.png"), image)
        (folder / "annotations" / f"{number:02}.xml").write_text(
            f"<annotation><filename>{number:02}.png</filename><object><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
            f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object></annotation>",
            encoding="utf-8",
        )


RECTANGLES = replace(
    TINY,
    pool_px=64,
    data=(PictureSource("voc", "rectangles", root="rectangles", holdout=True),),
    eval=(DetectorEvalSource("voc", "others", root="rectangles"),),
    stages=(DetectorStage(40, (64,), 10),),
    variation=replace(TINY.variation, mosaic=0.0),
    evaluate_every=20,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Progress]]:
    """A finished run on twelve rectangles, evaluated on twelve others; the data lies next to its folder."""
    data = tmp_path_factory.mktemp("detector")
    rectangles(data / "rectangles", 24)
    lines: list[Progress] = []
    fit(DetectorTask, RECTANGLES, data, data / "run", lines.append, lambda *_: None)
    return data / "run", lines


def test_it_learns_to_find_what_it_has_never_seen(run: tuple[Path, list[Progress]]) -> None:
    _, lines = run
    assert lines[-1].losses["giou"] < 0.9 * lines[0].losses["giou"]
    # Untrained it finds none: no score reaches the floor.
    assert max(line.eval["others"]["AP50"] for line in lines if line.eval) > 0.25


def test_the_best_weights_are_kept_and_measure_as_reported(run: tuple[Path, list[Progress]]) -> None:
    folder, lines = run
    network = build_detector(RECTANGLES)
    load_weights(network, folder / "best.npz")
    photos = eval_pictures(RECTANGLES.eval[0], RECTANGLES, folder.parent)
    best = max((line.eval["others"] for line in lines if line.eval), key=lambda metrics: metrics["AP50"])
    assert detector_metrics(detect_with(network, RECTANGLES.deploy_px), photos) == pytest.approx(best, abs=1e-6)
    report = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert report["eval"]["others"] == pytest.approx(lines[-1].eval["others"])


def test_it_leaves_its_curve(run: tuple[Path, list[Progress]]) -> None:
    folder, lines = run
    logged = [json.loads(line) for line in (folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in logged] == [line.step for line in lines] == [20, 25, 40]
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert lines[0].eta_s > 0
    assert lines[-1].eta_s == 0


@pytest.mark.slow
def test_a_run_that_imitates_its_average_resumes_to_the_same_curve(tmp_path: Path) -> None:
    plan = replace(QUICK.optimizer, ema_cycle_steps=3, ema_adopt=True)
    recipe = replace(QUICK, distill=Distillation("self", from_fraction=0.2), optimizer=plan, eval=())
    whole = train(recipe, tmp_path / "whole")
    parts = [*train(recipe, tmp_path / "parts", stop_after=5), *train(recipe, tmp_path / "parts")]
    assert [line.losses for line in parts] == [line.losses for line in whole]


@pytest.mark.slow
def test_a_run_begins_with_an_artifact_that_answers_alike(run: tuple[Path, list[Progress]], tmp_path: Path) -> None:
    folder, _ = run
    made = export_detector(
        RECTANGLES, folder / "best.npz", tmp_path / "artifact", Origin([], {}, {}), ["onnx"], data=folder.parent
    )
    trained, again = build_detector(RECTANGLES), build_detector(RECTANGLES)
    load_weights(trained, folder / "best.npz")
    load_weights(again, made)
    photo = as_input(read_rgb(next((folder.parent / "rectangles" / "images").glob("*.png")))[None])
    for network in (trained, again):
        network.eval()
    for own, other in zip(trained(photo), again(photo), strict=True):
        np.testing.assert_allclose(other.class_logits.numpy(), own.class_logits.numpy(), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(other.distance_logits.numpy(), own.distance_logits.numpy(), rtol=1e-3, atol=1e-3)
    with pytest.raises(ArtifactError, match=r"where|convolutions"):
        load_weights(build_detector(replace(RECTANGLES, network=replace(RECTANGLES.network, neck_channels=24))), made)


def test_the_manifest_names_what_was_borrowed(tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text("{}", encoding="utf-8")
    (tmp_path / "picodet.onnx").write_bytes(b"weights")
    recipe = replace(
        RECTANGLES,
        network=replace(RECTANGLES.network, backbone="picodet.onnx"),
        data=(*RECTANGLES.data, PictureSource("coco", "pseudo", file="boxes.json")),
    )
    assert sorted(borrowed(recipe, tmp_path)["borrowed"]) == ["boxes.json", "picodet.onnx"]
    assert borrowed(RECTANGLES, tmp_path) == {}


@pytest.mark.slow  # its losses are held to slow references, and its pseudo boxes train one in `make test`
def test_it_learns_from_a_teachers_cells(run: tuple[Path, list[Progress]], tmp_path: Path) -> None:
    """A student with the teacher's artifact next to the labels comes nearer to it, step by step."""
    folder, _ = run
    export_detector(RECTANGLES, folder / "best.npz", folder / "artifact", Origin([], {}, {}), ["onnx"])
    plan = Distillation("teacher", "run/artifact")
    student = replace(RECTANGLES, distill=plan, stages=(DetectorStage(40, (64,), 8),), eval=(), seed=2)
    lines: list[Progress] = []
    data = folder.parent
    (tmp_path / "pool").symlink_to(folder / "pool")
    fit(DetectorTask, student, data, tmp_path, lines.append, lambda *_: None, stop_after=10)
    fit(DetectorTask, student, data, tmp_path, lines.append, lambda *_: None)
    # Means over ten steps and more: what a single batch has to imitate differs by more than the student learns.
    first, last = lines[0].losses, lines[-1].losses
    assert last["distilled distances"] < 0.9 * first["distilled distances"]
    assert last["distilled scores"] < first["distilled scores"]
    assert last["giou"] < first["giou"]


def test_it_learns_from_a_teachers_boxes(run: tuple[Path, list[Progress]], tmp_path: Path) -> None:
    """The photos without their annotations: nothing is known but what the artifact says."""
    folder, _ = run
    data = folder.parent
    if not (folder / "artifact").exists():
        export_detector(RECTANGLES, folder / "best.npz", folder / "artifact", Origin([], {}, {}), ["onnx"])
    photos = sorted((data / "rectangles" / "images").glob("*.png"))
    (data / "list.txt").write_text("".join(f"{p.relative_to(data)}\tbody\n" for p in photos), encoding="utf-8")
    source = PictureSource("photos", "unmarked", file="list.txt", teacher="run/artifact")
    teacher = DetectorTeacher(folder / "artifact")
    sure = [image for image in map(read_rgb, photos) if teacher(image) is not None]
    student = replace(RECTANGLES, data=(source,), stages=(DetectorStage(14, (64,), 8),), eval=(), seed=2)
    if not sure:  # a teacher so unsure teaches nothing
        pytest.fail("the teacher is sure of no photo")
    lines: list[Progress] = []
    fit(DetectorTask, student, data, tmp_path, lines.append, lambda *_: None, stop_after=1)  # a line of the first step
    fit(DetectorTask, student, data, tmp_path, lines.append, lambda *_: None)
    assert len(load_pool(tmp_path / "pool").sources) == len(sure)
    assert lines[-1].losses["giou"] < lines[0].losses["giou"]


@pytest.mark.slow
def test_it_learns_from_its_own_average(run: tuple[Path, list[Progress]], tmp_path: Path) -> None:
    folder, _ = run
    (tmp_path / "pool").symlink_to(folder / "pool")
    plan, lines = replace(RECTANGLES, distill=Distillation("self", from_fraction=0.5)), list[Progress]()
    fit(DetectorTask, plan, folder.parent, tmp_path, lines.append, lambda *_: None)
    assert set(lines[-1].losses) >= {"distilled scores", "distilled distances"}
    eval_sets = [line.eval["others"]["AP50"] for line in lines if line.eval]
    assert eval_sets[-1] > eval_sets[0]


def test_it_imitates_its_average_from_the_step_that_the_recipe_says(tmp_path: Path) -> None:
    distilled = replace(QUICK, distill=Distillation("self", from_fraction=0.3), eval=(), evaluate_every=3)
    lines = train(distilled, tmp_path, stop_after=6)
    assert "distilled scores" not in lines[0].losses
    assert lines[1].losses["distilled distances"] > 0


def test_the_average_forgets_with_each_cycle_and_can_be_resumed(tmp_path: Path) -> None:
    """Cycles of one step: the decay is that of the first step, a tenth, each time."""
    for name, adopt in (("forgets", False), ("adopts", True)):
        plan = replace(QUICK.optimizer, ema_cycle_steps=1, ema_adopt=adopt, ema_decay=0.999)
        train(replace(QUICK, optimizer=plan, eval=()), tmp_path / name, stop_after=4)
    weight = "head.head_cls0.weight"
    forgets, adopts = (Checkpoint.load(tmp_path / name / "last.npz").groups for name in ("forgets", "adopts"))
    np.testing.assert_array_equal(adopts["module"][weight], adopts["average"][weight])
    assert np.abs(forgets["module"][weight] - forgets["average"][weight]).max() > 0
    steady = replace(QUICK, eval=())
    train(steady, tmp_path / "steady", stop_after=4)
    lags = Checkpoint.load(tmp_path / "steady" / "last.npz").groups
    np.testing.assert_array_equal(lags["module"][weight], forgets["module"][weight])
    distances = [np.abs(groups["module"][weight] - groups["average"][weight]).max() for groups in (forgets, lags)]
    assert distances[0] < 0.5 * distances[1]


def test_atss_and_momentum_train_too(tmp_path: Path) -> None:
    plan = DetectorOptimizer("momentum", 0.05, 4e-5, warmup_steps=2, warmup_from=0.1, clip_norm=0.0)
    loss = replace(QUICK.loss, assigner="atss")
    lines = train(replace(QUICK, optimizer=plan, loss=loss, stages=(DetectorStage(10, (96,), 4),)), tmp_path)
    assert lines[-1].losses["giou"] < lines[0].losses["giou"]


def test_a_classifiers_body_can_be_begun_with(tmp_path: Path) -> None:
    paddle.seed(9)
    classifier = PPLCNet(TINY.network.scale, class_num=5)
    paddle.save(classifier.state_dict(), str(tmp_path / "body.pdparams"))
    recipe = replace(QUICK, network=replace(QUICK.network, backbone="body.pdparams"), eval=())
    still = replace(recipe, optimizer=replace(QUICK.optimizer, learning_rate=0.0, weight_decay=0.0))
    fit(DetectorTask, still, tmp_path, tmp_path / "run", lambda _: None, lambda *_: None, stop_after=1)
    own = Checkpoint.load(tmp_path / "run" / "last.npz").groups["module"]["backbone.blocks6.1.pw_conv.conv.weight"]
    np.testing.assert_array_equal(own, classifier.blocks6[1].pw_conv.conv.weight.numpy())
    wider = replace(still, network=replace(still.network, scale=0.5))
    with pytest.raises(ArtifactError, match="backbone"):
        fit(DetectorTask, wider, tmp_path, tmp_path / "other", lambda _: None, lambda *_: None)


@pytest.mark.slow
def test_two_processes_reach_the_weights_of_one_with_the_whole_batch(tmp_path: Path) -> None:
    several_detectors.train(tmp_path / "alone")
    run_in_two(several_detectors.__file__, tmp_path / "logs", tmp_path / "together", timeout_s=110)
    one, two = (Checkpoint.load(tmp_path / name / "last.npz").groups for name in ("alone", "together"))
    for group in ("module", "average"):
        for name, expected in one[group].items():
            apart = np.abs(two[group][name] - expected).max() / max(1e-3, np.abs(expected).max())
            assert apart < 0.01, f"{group} {name}"
    logs = [(tmp_path / name / "curve.jsonl").read_text(encoding="utf-8") for name in ("alone", "together")]
    losses = [json.loads(log.splitlines()[-1])["losses"] for log in logs]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_photos_need_a_data_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="--data"):
        train(replace(QUICK, data=(PictureSource("voc", "photos", root="photos"),)), tmp_path)
    with pytest.raises(TrainingError, match="--data"):
        eval_pictures(DetectorEvalSource("voc", "held out", root="photos"), QUICK, None)


def test_stages_follow_each_other() -> None:
    assert QUICK.steps == 10
    assert [QUICK.stage_at(step) for step in (0, 5, 6, 9)] == [QUICK.stages[0]] * 2 + [QUICK.stages[1]] * 2


def test_the_bundled_recipe_is_of_the_size_that_may_ship() -> None:
    network = build_detector(load_recipe("detector-s", DetectorRecipe))
    assert sum(parameter.size for parameter in network.parameters()) * 4 < 6e6


def test_boxes_are_in_the_pixels_of_the_photo() -> None:
    """Of photos of one content but other shapes, the boxes have the same fractions."""
    paddle.seed(3)
    network = build_detector(TINY)
    for level in range(4):
        head = getattr(network.head, f"head_cls{level}")
        head.bias.set_value(paddle.zeros_like(head.bias))  # scores of about a half: every cell speaks
    detect = detect_with(network, 64)
    plain = [np.full((height, width, 3), 128, np.uint8) for height, width in ((64, 64), (128, 256))]
    (small, small_scores), (large, large_scores) = (detect(image) for image in plain)
    assert len(small) > 0
    np.testing.assert_allclose(large, small * np.array([4, 2, 4, 2]), rtol=1e-5)
    np.testing.assert_allclose(large_scores, small_scores, rtol=1e-6)


def test_the_input_is_normalised_by_imagenets_statistics() -> None:
    x = as_input(np.full((2, 4, 6, 3), 255, np.uint8))
    assert x.shape == [2, 3, 4, 6]
    np.testing.assert_allclose(
        x.numpy()[1, :, 0, 0], (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225], rtol=1e-5
    )
