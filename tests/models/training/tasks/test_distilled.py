"""What a manifest says of a distillation: method, teacher or peer, and which network the teacher is."""

from dataclasses import replace
from pathlib import Path

from models.artifacts.folders import load_manifest, resolve
from models.training.engine.loop import save_run
from models.training.recipes.classifier import ClassDistill, ClassifierRecipe
from models.training.recipes.distill import DistillPlan, DistillRecipe, FrozenTeacher
from models.training.recipes.metric import MetricRecipe
from models.training.recipes.reading import as_table, load_recipe
from models.training.tasks.distilled import distilled_classifier, distilled_embedder

STUDENT = load_recipe("metric-tiny", MetricRecipe)
BUNDLED = load_manifest(resolve("shitu-embedder"))


def test_an_embedders_run_says_its_teacher(tmp_path: Path) -> None:
    recipe = DistillRecipe("distilled", "metric-tiny", "ssld", teacher=FrozenTeacher("shitu-embedder"))
    save_run(tmp_path / "last.npz", DistillPlan("distilled", recipe, STUDENT, None), 3, 0.5, {})
    report = distilled_embedder(tmp_path, None)["distilled"]
    assert (report["name"], report["method"], report["peer"]) == ("distilled", "ssld", None)
    assert report["teacher"]["model"] == "shitu-embedder"
    assert (report["teacher"]["digest"], report["teacher"]["licence"]) == (BUNDLED.digest, BUNDLED.licence)


def test_a_teacher_that_is_gone_is_reported_by_its_name(tmp_path: Path) -> None:
    recipe = DistillRecipe("distilled", "metric-tiny", "ssld", teacher=FrozenTeacher("gone.onnx"))
    save_run(tmp_path / "last.npz", DistillPlan("distilled", recipe, STUDENT, None), 3, 0.5, {})
    assert distilled_embedder(tmp_path, tmp_path)["distilled"]["teacher"] == as_table(FrozenTeacher("gone.onnx"))


def test_an_embedders_run_says_its_peer(tmp_path: Path) -> None:
    plan = DistillPlan("pair", DistillRecipe("pair", "metric-tiny", "udml"), STUDENT, STUDENT)
    save_run(tmp_path / "last.npz", plan, 3, 0.5, {})
    report = distilled_embedder(tmp_path, None)["distilled"]
    assert (report["method"], report["teacher"], report["peer"]["name"]) == ("udml", None, "metric-tiny")


def test_other_runs_say_nothing(tmp_path: Path) -> None:
    assert distilled_embedder(tmp_path, None) == {}
    save_run(tmp_path / "last.npz", STUDENT, 3, 0.5, {})
    assert distilled_embedder(tmp_path, None) == {}
    assert distilled_classifier(load_recipe("classifier-tiny", ClassifierRecipe), None) == {}


def test_a_classifier_names_the_file_of_its_teacher(tmp_path: Path) -> None:
    (tmp_path / "teacher.onnx").write_bytes(b"")
    table = ClassDistill("ssld", FrozenTeacher("teacher.onnx"))
    recipe = replace(load_recipe("classifier-tiny", ClassifierRecipe), distill=table)
    report = distilled_classifier(recipe, tmp_path)["distilled"]
    assert report["method"] == "ssld"
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of no bytes
    assert report["teacher"]["files"] == {"teacher.onnx": nothing}
