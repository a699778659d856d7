"""`shitu evaluate` from the command line: the recipes' eval sets, and the user's own lists and photos."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from shitu.cli.main import main
from tests.models.programs import artifact
from tests.models.training.photo_data import write_photos


def shitu(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos of six plain colours, and their list."""
    folder = tmp_path_factory.mktemp("data")
    write_photos(folder)
    return folder / "shop"


def test_it_prints_the_metrics(tiny_artifact: Path, quick: Path, tmp_path: Path) -> None:
    answer = shitu(
        "--detector", "none", "--embedder", tiny_artifact, "--embedder-recipe", quick, "--out", tmp_path / "o"
    )
    assert answer.exit_code == 0, answer.output
    metrics = json.loads(answer.stdout)
    assert set(metrics) == {"embedder", "open set"}
    assert 0 <= metrics["embedder"]["rendered"] <= 1
    rates = metrics["open set"]["rendered"]
    assert rates["threshold"] == 0.4
    assert all(0 <= rates[name] <= 1 for name in ("identification_rate", "false_positive_identification_rate"))
    assert json.loads((tmp_path / "o" / "metrics.json").read_text(encoding="utf-8")) == metrics
    assert "embedder's eval sets: 1/1" in answer.stderr


def test_it_measures_the_detector_and_the_whole(
    tiny_artifact: Path, quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.evaluation.evaluate.PRODUCTS", 5)
    recipe = tmp_path / "d.toml"
    recipe.write_text(
        'name = "d"\npool_px = 64\n[[data]]\nkind = "rendered"\nname = "s"\ncount = 1\n[[stages]]\nsteps = 1\n'
        'sizes_px = [64]\n[[eval]]\nkind = "rendered"\nname = "scenes"\ncount = 1\nfirst_seed = 1000000\n',
        encoding="utf-8",
    )
    answer = shitu(
        "--detector", artifact(tmp_path / "detector", "detect", paddle_too=False), "--embedder", tiny_artifact,
        "--embedder-recipe", quick, "--detector-recipe", recipe, "--scenes", 1, "--out", tmp_path / "o",
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    metrics = json.loads(answer.stdout)
    assert set(metrics) == {"embedder", "open set", "detector", "pipeline"}
    assert set(metrics["detector"]) == {"scenes AP50", "scenes AP50:95"}
    assert set(metrics["pipeline"]) == {"found", "right"}
    assert "recognising: 1/1" in answer.stderr
    with Image.open(tmp_path / "o" / "confusion.png") as table:
        assert min(table.size) > 100


def test_a_list_that_queries_itself(tiny_artifact: Path, shop: Path, tmp_path: Path) -> None:
    answer = shitu(
        "retrieval",
        "--query",
        shop / "labels.tsv",
        "--embedder",
        tiny_artifact,
        "--top-k",
        "1,3",
        "--out",
        tmp_path / "o",
    )
    assert answer.exit_code == 0, answer.output
    metrics = json.loads(answer.stdout)
    assert list(metrics) == [
        "recall@1", "recall@3", "retrieval_mAP", "mINP", "precision@1", "precision@3", "queries", "gallery", "open set",
    ]  # fmt: skip
    assert (metrics["queries"], metrics["gallery"]) == (12, 12)
    assert metrics["recall@1"] >= 0.5  # the duplicate of a plain colour is the nearest
    assert metrics["precision@3"] <= 1 / 3 + 1e-3  # itself is none of the answers
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [
        "confusion.csv", "confusion.json", "confusion.png", "metrics.json", "neighbours.png",
    ]  # fmt: skip
    assert json.loads((tmp_path / "o" / "metrics.json").read_text(encoding="utf-8")) == metrics
    assert "embedding the queries: 12/12" in answer.stderr


def test_query_and_gallery_with_ids_and_re_ranking(tiny_artifact: Path, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("a0.png a 1\nb0.png b 1\n", encoding="utf-8")
    (tmp_path / "g.txt").write_text("a0.png a 1\na1.png a 1\nb1.png b 2\nc1.png c 2\n", encoding="utf-8")
    lists = (
        "--query",
        tmp_path / "q.txt",
        "--gallery",
        tmp_path / "g.txt",
        "--root",
        shop,
        "--embedder",
        tiny_artifact,
    )
    answer = shitu("retrieval", *lists, "--ids", "--k-reciprocal")
    assert answer.exit_code == 0, answer.output
    metrics = json.loads(answer.stdout)
    assert (metrics["queries"], metrics["gallery"]) == (2, 4)
    assert metrics["recall@1"] in (0, 1)  # of b alone: all photos of a are masked for a
    assert answer.stderr.count("embedding") >= 2


@pytest.mark.parametrize("count", [0, 4])
def test_by_binary_codes(tiny_artifact: Path, shop: Path, tmp_path: Path, count: int) -> None:
    answer = shitu(
        "retrieval", "--query", shop / "labels.tsv", "--embedder", tiny_artifact, "--top-k", "1,3", "--out", tmp_path / "o",
        "--binary", "--rerank", count,
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    metrics = json.loads(answer.stdout)
    assert metrics["bits"] % 8 == 0
    assert metrics["bits"] > 0
    assert 0.25 <= metrics["recall@1"] <= 1
    assert metrics["precision@3"] <= 1 / 3 + 1e-3
    assert json.loads((tmp_path / "o" / "metrics.json").read_text(encoding="utf-8")) == metrics
    assert (tmp_path / "o" / "neighbours.png").is_file()


def test_photos_with_labels_alone(tiny_artifact: Path, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "g.txt").write_text("".join(f"{label}1.png {label}\n" for label in "abcde"), encoding="utf-8")
    (tmp_path / "q.txt").write_text("".join(f"{label}0.png {label}\n" for label in "abf"), encoding="utf-8")
    answer = shitu(
        "pipeline", "--photos", tmp_path / "q.txt", "--images", shop, "--gallery", tmp_path / "g.txt", "--root", shop,
        "--detector", "none", "--embedder", tiny_artifact, "--threshold", -1, "--out", tmp_path / "o",
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    metrics = json.loads(answer.stdout)
    assert (metrics["photos"], metrics["things"], metrics["answers"], metrics["unknowns"]) == (3, 2, 3, 1)
    assert metrics["unknowns answered"] == 1
    with (tmp_path / "o" / "confusion.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))
    assert np.array(table)[1:, 1:].astype(int).sum() == 3


def test_photos_with_boxes(tiny_artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("x.png", "y.png"):
        Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(tmp_path / "images" / name)
    (tmp_path / "list.txt").write_text("images/x.png thing\n", encoding="utf-8")
    coco = {
        "images": [{"id": 1, "file_name": "x.png"}, {"id": 2, "file_name": "y.png"}],
        "annotations": [{"image_id": 1, "category_id": 5, "bbox": [0, 0, 50, 40]}],
        "categories": [{"id": 5, "name": "thing"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco), encoding="utf-8")
    answer = shitu(
        "pipeline", "--photos", tmp_path / "coco.json", "--gallery", tmp_path / "list.txt", "--detector", "none",
        "--embedder", tiny_artifact,
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    metrics = json.loads(answer.stdout)
    assert (metrics["found"], metrics["right"]) == (1, 0.5)  # y shows nothing that has a box


@pytest.mark.parametrize(
    ("arguments", "report"),
    [
        (("--embedder", "no-such-model"), "There is no model 'no-such-model'"),
        (("retrieval", "--query", "short.txt"), "short.txt: 1 bad line(s): line 1: expected path"),
        (("pipeline", "--photos", "short.txt", "--gallery", "short.txt"), "short.txt: 1 bad line(s): line 1"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], report: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "short.txt").write_text("a.png\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    answer = shitu(*arguments)
    assert answer.exit_code == 1
    assert answer.stderr.startswith("Error: ")
    assert report in answer.stderr
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize("ks", ["0", "1,,2", "five", "-1", ""])
def test_k_is_whole_numbers(ks: str, shop: Path) -> None:
    answer = shitu("retrieval", "--query", shop / "labels.tsv", "--top-k", ks)
    assert answer.exit_code == 2
    assert "is not whole numbers from 1" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "report"),
    [
        (("--detector", "none", "--embedder", "none"), "leave nothing to measure"),
        (("--embedder", "none", "--baselines"), "--baselines means nothing with --embedder none"),
        (("--embedder", "none", "--embedder-recipe", "embedder-s"), "--embedder-recipe means nothing with --embedder"),
        (("--detector", "none", "--scenes", 3), "--scenes means nothing with --detector none"),
        (("--embedder", "x", "retrieval", "--query", "a"), "--embedder has no effect before retrieval"),
        (("retrieval", "--query", "a", "--ids"), "--ids is about lists, and a is none"),
        (("retrieval", "--query", "a", "--rerank", 5), "--rerank goes with --binary"),
        (("retrieval", "--query", "a", "--k-reciprocal", "--binary"), "with --binary take --rerank N"),
        (("pipeline", "--photos", "a", "--gallery", "a", "--delimiter", ","), "--delimiter is about lists"),
    ],
)
def test_options_that_would_mean_nothing_are_refused(
    arguments: tuple[object, ...], report: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    answer = shitu(*arguments)
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert report in answer.stderr


def test_open_set_of_lists(tiny_artifact: Path, shop: Path, tmp_path: Path) -> None:
    lines = (shop / "labels.tsv").read_text(encoding="utf-8").splitlines()
    gallery, query = tmp_path / "gallery.tsv", tmp_path / "query.tsv"
    labels = sorted({line.split("\t")[1] for line in lines})
    inside = [line for line in lines if line.split("\t")[1] != labels[0]]
    gallery.write_text("\n".join(inside[::2]) + "\n", encoding="utf-8")
    query.write_text("\n".join(line for line in lines if line not in inside[::2]) + "\n", encoding="utf-8")
    options = ["open-set", "--query", query, "--gallery", gallery, "--root", shop, "--embedder", tiny_artifact]
    answer = shitu(*options, "--out", tmp_path / "o")
    assert answer.exit_code == 0, answer.output
    report = json.loads(answer.stdout)
    assert json.loads((tmp_path / "o" / "metrics.json").read_text(encoding="utf-8")) == report
    assert (report["known"], report["unknown"], report["gallery"]) == (5, 2, 5)  # all of the first label are unknown
    for rate in ("0.01", "0.05", "0.1"):
        assert 0 <= report[f"identified@fpr{rate}"] <= report["recall@1"] <= 1
    more = json.loads(shitu(*options, "--unknown", shop / "labels.tsv").stdout)
    assert more["unknown"] == 14
    alone = json.loads(shitu("open-set", "--query", shop / "labels.tsv", "--embedder", tiny_artifact).stdout)
    assert (alone["known"], alone["unknown"]) == (12, 12)


@pytest.mark.parametrize("form", ["list", "folder"])
def test_what_cannot_be_used_is_reported_and_the_others_are_measured(shop: Path, tmp_path: Path, form: str) -> None:
    embedder = artifact(tmp_path / "embedder", "embed", paddle_too=False)
    mine = tmp_path / "mine"
    lines = (shop / "labels.tsv").read_text(encoding="utf-8").splitlines()
    for line in lines:
        name, label = line.split("\t")[:2]
        (mine / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(shop / name, mine / label)
    broken = next(iter(sorted((mine / label).iterdir())))
    broken.write_bytes(broken.read_bytes()[:-20])
    (mine / label / "scan.pdf").write_bytes(b"%PDF-1.7")
    files = [path for path in sorted(mine.rglob("*")) if path.suffix != ".pdf" and path.is_file()]
    listed = "".join(f"{path.relative_to(mine)}\t{path.parent.name}\n" for path in files)
    (tmp_path / "list.txt").write_text(listed + "gone.jpg\ttea\n", encoding="utf-8")
    query = mine if form == "folder" else tmp_path / "list.txt"
    root = () if form == "folder" else ("--root", mine)
    for how in (("retrieval", "--query", query), ("open-set", "--query", query, "--unknown", mine)):
        answer = shitu(*how, *root, "--embedder", embedder)
        assert answer.exit_code == 1, answer.output
        assert json.loads(answer.stdout)
        assert f"{broken}: " in answer.stderr
        if form == "list":
            assert "line 13: no file gone.jpg" in answer.stderr
        if form == "folder" or "--unknown" in how:
            assert "1 .pdf" in answer.stderr
