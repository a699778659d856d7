"""The newcomer's rows: galleries and queries never share a photo, the choice is fixed, and each kind of answer is counted."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks import newcomer
from benchmarks.newcomer import (
    Query,
    Trial,
    all_groceries,
    lay_out,
    rendered_products,
    run,
    score,
    some_drinks,
    some_groceries,
)
from models.synth.designs import design_product
from models.synth.products import packshot, random_view

CLASSES, DRINKS = 4, 8
MODELS = ("--embedder", "shitu-embedder", "--detector", "shitu-detector")


def write(path: Path, seed: int, view: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = random_view(np.random.default_rng(view)) if view else None
    Image.fromarray(packshot(design_product(seed), 96, view=shown)).save(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered products in the folders of grocery photos and drinks; a drink's label has a slash, as a real one has."""
    root = tmp_path_factory.mktemp("data")
    classes = ["Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int),Iconic,Description"]
    splits: dict[str, list[str]] = {"train": [], "val": []}
    for label in range(CLASSES):
        write(root / f"grocery/iconic/{label}.png", label * 12)
        classes.append(f"Class-{label},{label},Coarse,0,/iconic/{label}.png,/none.txt")
        for split, first, count in (("train", 1, 3), ("val", 7, 2)):
            for view in range(first, first + count):
                name = f"{split}/{label}/{view}.png"
                write(root / "grocery" / name, label * 12, view)
                splits[split].append(f"{name}, {label}, 0")
    (root / "grocery/classes.csv").write_text("\n".join(classes) + "\n", encoding="utf-8")
    for split, lines in splits.items():
        (root / f"grocery/{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    drinks = []
    for label in range(DRINKS):
        for view in range(3 if label == DRINKS - 1 else 4):  # the last has too few for two shots and two queries
            write(root / f"drinks/images/{label}/{view}.png", 1000 + label * 12, view)
            drinks.append(f"images/{label}/{view}.png\tbrand/{label}")
    (root / "drinks/labels.tsv").write_text("\n".join(drinks) + "\n", encoding="utf-8")
    return root


def paths(trial: Trial) -> tuple[set[Path], set[Path]]:
    """The files of the gallery and of the queries."""
    gallery = {picture for _, picture in trial.gallery if isinstance(picture, Path)}
    return gallery, {query.picture for query in trial.queries if isinstance(query.picture, Path)}


@pytest.mark.parametrize("shots", [0, 2])
def test_groceries_are_queried_with_photos_of_val_in_turn(data: Path, shots: int) -> None:
    trial = some_groceries(data, shots, classes=3, photos=5)
    gallery, queries = paths(trial)
    assert trial == some_groceries(data, shots, classes=3, photos=5)
    assert len(gallery) == 3 * max(1, shots)
    assert len(queries) == 5
    assert {path.parts[-3] for path in queries} == {"val"}
    assert {path.parts[-3] for path in gallery} == ({"train"} if shots else {"grocery"})
    queried = [query.labels[0] for query in trial.queries]
    assert set(queried[:3]) == {label for label, _ in trial.gallery}
    assert queried[3:] == queried[:2]
    for query in trial.queries:
        assert isinstance(query.picture, Path)
        assert query.labels == (f"Class-{query.picture.parent.name}",)


def test_the_same_classes_are_queried_by_packshot_and_by_photos(data: Path) -> None:
    one, five = (some_groceries(data, shots, classes=3) for shots in (0, 2))
    assert one.queries == five.queries
    assert {label for label, _ in one.gallery} == {label for label, _ in five.gallery}


def test_all_groceries_are_queried_with_every_photo_of_val(data: Path) -> None:
    whole, found = (all_groceries(data, whole=whole) for whole in (True, False))
    assert whole.queries == found.queries
    assert (len(whole.gallery), len(whole.queries)) == (CLASSES, 2 * CLASSES)
    assert (whole.options, found.options) == (("--detector", "none"), ())


def test_drinks_are_held_out_and_never_queried_with_their_own_pictures(data: Path) -> None:
    trial = some_drinks(data, classes=9)
    gallery, queries = paths(trial)
    # Every second label is held out; brand/7 has too few photos.
    assert {label for label, _ in trial.gallery} == {"brand/1", "brand/3", "brand/5"}
    assert (len(gallery), len(queries)) == (6, 6)
    assert not gallery & queries
    assert {path.parent.name for path in queries} == {"1", "3", "5"}
    assert len(some_drinks(data, classes=2).gallery) == 4


def test_rendered_products_are_queried_in_scenes_of_several() -> None:
    trial, again = (rendered_products(products=5, views=2, scenes=2, objects=3) for _ in range(2))
    assert [label for label, _ in trial.gallery] == [label for label, _ in again.gallery]
    assert len(trial.gallery) == 10
    for query, same in zip(trial.queries, again.queries, strict=True):
        assert np.array_equal(np.asarray(query.picture), np.asarray(same.picture))
        assert query.boxes is not None
        assert len(query.boxes) == len(query.labels) == len(set(query.labels))
        assert set(query.labels) <= {label for label, _ in trial.gallery}
    assert any(len(query.labels) == 3 for query in trial.queries)


def region(label: str, similarity: float, box: tuple[int, ...] = (0, 0, 10, 10), **more: Any) -> dict[str, Any]:
    return {"box": list(box), "label": label, "similarity": similarity, "matches": [match(label, similarity)], **more}


def match(label: str, similarity: float) -> dict[str, Any]:
    return {"label": label, "similarity": similarity}


def boxes(*rows: tuple[int, int, int, int]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def answer(*recognitions: Mapping[str, Any], dropped: tuple[Mapping[str, Any], ...] = ()) -> dict[str, Any]:
    return {"photo": "photos/00000.png", "recognitions": list(recognitions), "dropped": list(dropped)}


def counted(query: Query, answers: Mapping[str, Any]) -> dict[str, int | None]:
    """What `score` counts of one photo: all that is not 0."""
    labels = ("cola", "tea", "milk")
    trial = Trial("one", tuple((label, Path(label)) for label in labels), (query,))
    row = score(trial, [answers], {f"{n:04}": label for n, label in enumerate(labels)})
    assert row.right + row.wrong + row.silent == row.objects == len(query.labels)
    names = ("right", "wrong", "silent", "nearest", "guesses", "stray")
    return {name: getattr(row, name) for name in names if getattr(row, name) != 0}


COLA, TEA, MILK = "0000", "0001", "0002"


def test_a_photo_of_one_thing_is_scored_by_its_surest_answer() -> None:
    query = Query(Path("a"), ("cola",))
    assert counted(query, answer(region(COLA, 0.9))) == {"right": 1, "nearest": 1, "guesses": None}
    assert counted(query, answer(region(TEA, 0.9), region(COLA, 0.8))) == {"wrong": 1, "guesses": None}
    surest = (region(TEA, 0.9, probability=0.5), region(COLA, 0.8, probability=0.7))
    assert counted(query, answer(*surest)) == {"right": 1, "stray": 1, "guesses": None}
    assert counted(query, answer()) == {"silent": 1, "guesses": None}
    assert counted(query, answer(dropped=(region(COLA, 0.3),))) == {"silent": 1, "nearest": 1, "guesses": None}
    nearer = answer(dropped=(region(COLA, 0.3), region(TEA, 0.4)))
    assert counted(query, nearer) == {"silent": 1, "guesses": None}


def test_a_right_guess_counts_where_nothing_was_answered() -> None:
    query = Query(Path("a"), ("cola",))
    guessed = region(TEA, 0.4, candidates=[match(TEA, 0.4), match(COLA, 0.3)])
    assert counted(query, answer(dropped=(guessed,))) == {"silent": 1, "guesses": 1}
    missed = region(TEA, 0.4, candidates=[match(TEA, 0.4)])
    assert counted(query, answer(dropped=(missed,))) == {"silent": 1}


def test_things_of_a_scene_are_scored_at_their_places() -> None:
    query = Query(Path("a"), ("cola", "tea"), boxes((0, 0, 10, 10), (20, 0, 30, 10)))
    answers = answer(region(COLA, 0.9), region(COLA, 0.8, (20, 0, 30, 9)))
    assert counted(query, answers) == {"right": 1, "wrong": 1, "nearest": 1, "guesses": None}
    elsewhere = answer(region(TEA, 0.9, (0, 0, 30, 10)), dropped=(region(TEA, 0.2, (20, 0, 30, 10)),))
    assert counted(query, elsewhere) == {"silent": 2, "nearest": 1, "stray": 1, "guesses": None}


def test_labels_become_folder_names_that_a_file_system_takes(tmp_path: Path, data: Path) -> None:
    trial = some_drinks(data, classes=3)
    names = lay_out(trial, tmp_path)
    assert sorted(names.values()) == ["brand/1", "brand/3", "brand/5"]
    for number, label in names.items():
        files = sorted((tmp_path / "gallery" / number).iterdir())
        own = sorted(path.read_bytes() for name, path in trial.gallery if name == label and isinstance(path, Path))
        assert sorted(file.read_bytes() for file in files) == own
    assert [path.name for path in sorted((tmp_path / "photos").iterdir())] == [f"{n:05}.png" for n in range(6)]


def test_a_trial_is_run_by_the_command_itself(data: Path) -> None:
    shots = [(label, data / f"drinks/images/{label}/0.png") for label in "135"]
    trial = Trial("itself", tuple(shots), tuple(Query(path, (label,)) for label, path in shots), ("--detector", "none"))
    row = run(trial, MODELS)
    assert (row.right, row.nearest, row.pictures, row.objects) == (3, 3, 3, 3)
    assert row.command_s > 0


def test_rows_are_printed_as_a_table_and_as_json(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, "--data", str(data), "--rows", "groceries-whole", "--json")
    answers = json.loads(capsys.readouterr().out)
    row = answers["rows"][0]
    assert (row["labels"], row["photos"], answers["seed"]) == (CLASSES, 2 * CLASSES, newcomer.SEED)
    assert row["right"] + row["wrong"] + row["silent"] == row["objects"] == 2 * CLASSES
    call(monkeypatch, "--data", str(data), "--rows", "groceries-1")
    head, columns, line = capsys.readouterr().out.splitlines()
    assert "embedder" in head
    assert "not answered" in columns
    assert line.startswith(f"{CLASSES} groceries, one packshot each")
    assert len(line) == len(columns)


def test_without_photos_it_says_so_and_succeeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    call(monkeypatch, "--data", str(tmp_path / "none"), "--rows", "groceries-1,drinks")
    answers = capsys.readouterr()
    assert answers.out == ""
    assert answers.err.startswith("skipped groceries-1, drinks: there is no folder")


def test_an_unknown_row_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        call(monkeypatch, "--rows", "groceries-2")
    assert stopped.value.code == 2
    assert "groceries-2" in capsys.readouterr().err


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["newcomer", *arguments])
    newcomer.main()
