"""The figures that the README and the training page give of the bundled networks are those that their manifests hold."""

import re
from pathlib import Path

import pytest

from models.artifacts.folders import BUNDLED, load_manifest

ROOT = Path(__file__).parents[1]
EMBEDDER, DETECTOR = (load_manifest(BUNDLED / name) for name in ("shitu-embedder", "shitu-detector"))


def row(page: str, begins: str) -> list[str]:
    """The cells of the one table row of `page` whose first cell begins so."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    found = [line for line in lines if re.match(rf"\| \W*{re.escape(begins)}", line)]
    assert len(found) == 1, f"{len(found)} rows begin with {begins!r}"
    return [cell.strip() for cell in found[0].strip("|").split("|")]


def numbers(cell: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+\.\d+|\d+", cell)]


@pytest.mark.parametrize(
    ("begins", "eval_set"),
    [
        ("recall@1, 200 rendered products", "rendered"),
        ("recall@1, real drinks", "drinks_held_out"),
        ("recall@1, `grocery`", "grocery_val"),
        ("recall@1, the same photos against one packshot", "packshot_val"),
    ],
)
def test_the_readme_gives_the_embedders_recall(begins: str, eval_set: str) -> None:
    assert numbers(row("README.md", begins)[1]) == pytest.approx([EMBEDDER.metrics[eval_set]], abs=0.0051)


def test_the_readme_gives_the_detectors_average_precision() -> None:
    report = numbers(row("README.md", "AP50 of the detector")[1])
    expected = [DETECTOR.metrics[f"{eval_set} AP50"] for eval_set in ("scenes", "raccoon_held_out")]
    assert report == pytest.approx(expected, abs=0.0051)


def test_the_training_page_gives_what_ships() -> None:
    _, _, _, rendered, drinks, grocery, packshots, scenes, raccoon, size, _ = row(
        "docs/training.md", "`embedder-lite0-gpu`, shipped"
    )
    expected = [
        EMBEDDER.metrics[eval_set] for eval_set in ("rendered", "drinks_held_out", "grocery_val", "packshot_val")
    ]
    assert numbers(" ".join((rendered, drinks, grocery, packshots))) == pytest.approx(expected, abs=0.00051)
    assert not numbers(scenes) + numbers(raccoon)
    assert numbers(size) == [megabytes("shitu-embedder")]
    _, _, _, rendered, drinks, grocery, packshots, scenes, raccoon, size, _ = row(
        "docs/training.md", "`detector-s`, shipped"
    )
    expected = [DETECTOR.metrics[f"{eval_set} AP50"] for eval_set in ("scenes", "raccoon_held_out")]
    assert numbers(" ".join((scenes, raccoon))) == pytest.approx(expected, abs=0.00051)
    assert not numbers(rendered) + numbers(drinks) + numbers(grocery) + numbers(packshots)
    assert numbers(size) == [megabytes("shitu-detector")]


def megabytes(name: str) -> float:
    """Of the one file that OpenVINO reads."""
    return round((BUNDLED / name / "inference.onnx").stat().st_size / 1e6, 1)
