"""An exported embedder gets its calibration, its unknowns and its open-set metrics, and keeps its digest."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.artifacts.folders import MANIFEST, load_manifest, verify
from models.artifacts.manifest import UNKNOWNS
from models.embedder import Embedder
from models.errors import ArtifactError
from models.evaluation.calibrate_embedder import PhotoSet, calibrate_embedder
from models.evaluation.fit_calibration import LabelledRows
from models.evaluation.fit_verified import fit_verified, observed, query_verified
from models.galleries.calibration import Calibration, from_threshold
from models.galleries.calibration_queries import LEFT_OUT, REAL
from models.recognition.second_look import in_doubt
from models.training.data.photos import DatasetError, Photo
from tests.models.programs import artifact


def photos(folder: Path, labels: int, each: int, seed: int) -> list[Photo]:
    """Noise of a colour for each label."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    made = []
    for label in range(labels):
        colour = rng.integers(0, 256, 3)
        for number in range(each):
            pixels = np.clip(colour + rng.normal(0, 40, (24, 24, 3)), 0, 255).astype(np.uint8)
            path = folder / f"{label}-{number}.png"
            Image.fromarray(pixels).save(path)
            made.append(Photo(path, path.name, f"label {label}"))
    return made


def test_an_artifact_is_calibrated_and_its_digest_stays(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "embedder", "embed", paddle_too=False)
    before = Embedder(folder)
    assert before.calibration == from_threshold(before.similarity_threshold)
    assert before.unknowns.shape == (0, before.dim)
    known = photos(tmp_path / "known", 16, 5, 1)
    unknown = [photo.path for photo in photos(tmp_path / "unknown", 30, 1, 2)]
    reported: list[str] = []
    metrics = calibrate_embedder(folder, [PhotoSet("colours", known)], unknown, lambda what, *_: reported.append(what))
    after = Embedder(folder)
    assert after.digest == before.digest
    assert after.calibration.source == "embedder"
    assert after.calibration.curve
    assert after.unknowns.shape == (30, after.dim)
    np.testing.assert_allclose(np.linalg.norm(after.unknowns, axis=1), 1, atol=1e-5)
    assert UNKNOWNS in verify(folder)
    assert metrics.items() <= load_manifest(folder).metrics.items()
    assert set(metrics) >= {f"colours identified@fpr{rate}" for rate in ("0.01", "0.05", "0.1")}
    with pytest.raises(DatasetError, match="no pictures of unknown"):
        calibrate_embedder(folder, [PhotoSet("colours", known)], [], lambda *_: None)


@pytest.mark.parametrize("damage", ["rows", "file", "calibration"])
def test_what_is_damaged_is_refused(tmp_path: Path, damage: str) -> None:
    folder = artifact(tmp_path / "embedder", "embed", paddle_too=False)
    dim = Embedder(folder).dim
    table = json.loads((folder / MANIFEST).read_bytes())
    if damage == "calibration":
        table["calibration"] = {"schema": 1}
    else:
        table["files"][UNKNOWNS] = "0" * 64
        if damage == "rows":
            np.save(folder / UNKNOWNS, np.zeros((4, dim + 1), np.float16))
        else:
            (folder / UNKNOWNS).write_bytes(b"no array")
    (folder / MANIFEST).write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"calibration|unknowns\.npy"):
        Embedder(folder)


@dataclass(frozen=True)
class Agreement:
    inliers: int
    query_points: NDArray[np.float32]
    item_points: NDArray[np.float32]


class SameLabelAgrees:
    """Features are labels; pictures of the same one agree in twenty places, others in none."""

    def describe(self, image: Any, /) -> Any:
        return image

    def agree(self, query: Any, item: Any, /) -> Agreement:
        none = np.zeros((0, 2), np.float32)
        return Agreement(20 if query == item else 0, none, none)


def test_agreement_that_separates_right_from_wrong_is_learnt() -> None:
    rng = np.random.default_rng(3)
    rows = np.repeat(rng.normal(size=(20, 16)), 5, axis=0) + 1.2 * rng.normal(size=(100, 16))
    labels = np.repeat(np.arange(20), 5)
    features = [f"label {label}" for label in labels.tolist()]
    known = LabelledRows("x", np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32), labels)
    start = Calibration("embedder", (0.0, 3.0, 3.0, 0.0), verified=(1.0, 0.0, 0.0, 0.0))
    compared = query_verified(start, known, features, SameLabelAgrees(), 2, np.random.default_rng(0))
    seen = observed(compared, start)
    assert {int(kind) for kind in seen.kinds} == {REAL, LEFT_OUT}
    assert (seen.inliers[seen.right > 0] == 20).all()
    assert (seen.inliers[seen.kinds == LEFT_OUT] == 0).all()
    made = fit_verified(start, [(known, features)], SameLabelAgrees())
    assert made == fit_verified(start, [(known, features)], SameLabelAgrees())
    assert made.verified_probability(0.5, 0.4, 2, 20, 0) > 0.9
    assert made.verified_probability(0.5, 0.4, 2, 0, 0) < 0.2
    assert fit_verified(start, [], SameLabelAgrees()) is start


class SomeNeverAgree(SameLabelAgrees):
    """As above, but pictures with these features agree with none."""

    def __init__(self, never: set[str]) -> None:
        self.never = never

    def agree(self, query: Any, item: Any, /) -> Agreement:
        return super().agree(query, None if query in self.never else item)


def test_the_fit_is_to_queries_in_doubt_as_the_service_looks_at_them() -> None:
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(40, 32))
    spread = np.repeat([[0.02], [1.2]], 20, axis=0)  # twenty labels that are sure, twenty that are not
    rows = np.concatenate([centres + spread * rng.normal(size=centres.shape) for _ in range(5)])
    labels = np.tile(np.arange(40), 5)
    features = [f"label {label}" for label in labels.tolist()]
    known = LabelledRows("x", np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32), labels)
    start = Calibration("embedder", (-4.0, 12.0, 8.0, 0.0), verified=(1.0, 0.0, 0.0, 0.0))
    silent = SomeNeverAgree({f"label {label}" for label in range(20)})
    compared = query_verified(start, known, features, silent, 2, np.random.default_rng(0))
    sure = [one for one in compared if one.label is not None and int(one.label) < 20]
    assert len(sure) > 30
    assert not any(in_doubt(one.part) for one in sure)
    assert (
        fit_verified(start, [(known, features)], silent).verified
        == fit_verified(start, [(known, features)], SameLabelAgrees()).verified
    )


def test_the_first_label_is_that_of_the_order_that_is_served() -> None:
    rng = np.random.default_rng(3)
    rows = np.repeat(rng.normal(size=(20, 16)), 5, axis=0) + 1.2 * rng.normal(size=(100, 16))
    labels = np.repeat(np.arange(20), 5)
    known = LabelledRows("x", np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32), labels)
    features = [f"label {label}" for label in labels.tolist()]
    start = Calibration("embedder", (0.0, 3.0, 3.0, 0.0), verified=(1.0, 0.0, 0.0, 0.0))
    compared = query_verified(start, known, features, SameLabelAgrees(), 2, np.random.default_rng(0))
    agreeing = replace(start, verified=(1.0, 0.0, 2.0, 0.0))
    assert observed(compared, agreeing).right.sum() > observed(compared, start).right.sum()
