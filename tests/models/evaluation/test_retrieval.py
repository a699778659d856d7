"""Retrieval on lists of photos: masks by file and by id, re-ranking, and what is written."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.errors import GalleryError
from models.evaluation import retrieval
from models.evaluation.contact_sheets import rows_shown
from models.evaluation.metrics import retrieval_metrics
from models.evaluation.ranking import inner_products, rank
from models.evaluation.rerank import reranked
from models.evaluation.retrieval import answered_rightly, evaluate_retrieval, row_labels_of, summary, write_retrieval
from models.galleries.binary_gallery import BinaryGallery
from models.training.data.photos import Photo
from shitu.cli.searched import FolderItem
from tests.models.training.photo_data import write_photos
from tests.models.training.retrieval_reference import metrics


def mean_colour(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    rows = np.stack([image.reshape(-1, 3).mean(axis=0) for image in images]) - 127.5
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def eight_dimensions(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Of 8 bits, so that many codes are equally near."""
    turned = mean_colour(images) @ np.random.default_rng(4).normal(size=(3, 8))
    return np.asarray(turned / np.linalg.norm(turned, axis=1, keepdims=True), np.float32)


def silent(what: str, done: int, of: int) -> None:
    pass


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Photo]:
    folder = tmp_path_factory.mktemp("data")
    write_photos(folder)
    names = [f"{label}{number}.png" for label in "abcdef" for number in range(2)]
    return [Photo(folder / "shop" / name, name, name[0]) for name in names]


def test_no_photo_is_its_own_answer_in_one_list_or_in_two(photos: list[Photo]) -> None:
    alone = evaluate_retrieval(mean_colour, photos, None, 0.5, silent, (1, 2))
    both = evaluate_retrieval(mean_colour, photos, photos, 0.5, silent, (1, 2))
    assert alone.metrics == both.metrics
    assert alone.metrics["recall@1"] == 1
    assert alone.metrics["precision@2"] == 0.5
    assert (alone.nearest[:, 0] != np.arange(12)).all()


def test_photos_of_one_label_and_id_are_never_matched(photos: list[Photo]) -> None:
    same = [Photo(photo.path, photo.name, photo.label, "camera 1") for photo in photos]
    found = evaluate_retrieval(mean_colour, same, None, 0.5, silent)
    assert np.isnan(found.metrics["recall@1"])
    assert summary(found)["recall@1"] is None
    others = [Photo(photo.path, photo.name, photo.label, photo.name[1]) for photo in photos]
    assert evaluate_retrieval(mean_colour, others, None, 0.5, silent).metrics["recall@1"] == 1


def test_an_id_alone_masks_nothing(photos: list[Photo]) -> None:
    query, gallery = row_labels_of([[Photo(photos[0].path, "x", "a", "1")], [Photo(photos[2].path, "y", "b", "1")]])
    assert query.marks[0] != gallery.marks[0]


def test_re_ranking_changes_the_metrics_and_not_the_similarities_or_the_open_set(photos: list[Photo]) -> None:
    plain = evaluate_retrieval(mean_colour, photos[:8], photos[4:], 0.5, silent)
    again = evaluate_retrieval(mean_colour, photos[:8], photos[4:], 0.5, silent, rerank=True)
    rows, others = (
        mean_colour([np.array(Image.open(p.path).convert("RGB")) for p in some]) for some in (photos[:8], photos[4:])
    )
    query_labels, gallery_labels = row_labels_of([photos[:8], photos[4:]])
    assert again.metrics == retrieval_metrics(rank(reranked(rows, others), query_labels, gallery_labels))
    assert plain.metrics == retrieval_metrics(rank(inner_products(rows, others), query_labels, gallery_labels))
    assert again.open_set == plain.open_set
    for row, (places, values) in enumerate(zip(again.nearest, again.similarities, strict=True)):
        shown = np.isfinite(values)
        np.testing.assert_allclose(values[shown], others[places[shown]] @ rows[row], atol=1e-5)


def test_photos_are_embedded_in_batches_and_in_order(photos: list[Photo], monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[tuple[str, int, int]] = []
    whole = retrieval.embed_photos(mean_colour, photos, "x", silent)
    monkeypatch.setattr(retrieval, "BATCH", 5)
    parts = retrieval.embed_photos(mean_colour, photos, "x", lambda *what: reported.append(what))
    np.testing.assert_array_equal(parts, whole)
    assert [done for _, done, _ in reported] == [5, 10, 12]


def test_the_sheet_shows_right_and_wrong_ones_and_the_files_agree(photos: list[Photo], tmp_path: Path) -> None:
    wrong = [Photo(photo.path, photo.name, "f") if photo.label == "e" else photo for photo in photos]
    wrong[1] = Photo(photos[1].path, photos[1].name, "z")  # a0 is now alone, and answered with z
    found = evaluate_retrieval(mean_colour, wrong, None, 0.5, silent)
    rows = rows_shown(answered_rightly(found))
    assert rows[:2] == [0, 1]
    assert len(rows) == len(set(rows)) == 12
    write_retrieval(found, tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == summary(found)
    table = json.loads((tmp_path / "confusion.json").read_text(encoding="utf-8"))
    assert sum(one["count"] for one in table["pairs"]) == 12
    assert {"truth": "a", "answer": "z", "count": 1} in table["pairs"]
    with Image.open(tmp_path / "neighbours.png") as sheet:
        assert sheet.height > 12 * 100


def pixels(photos: Sequence[Photo]) -> list[NDArray[np.uint8]]:
    return [np.array(Image.open(photo.path).convert("RGB")) for photo in photos]


def by_codes(queries: Sequence[Photo], gallery: Sequence[Photo], count: int) -> list[list[bool]]:
    """Whether each place of each query's ranking is right: pair by pair, bit by bit; `count` are put in order by cosines."""
    rows, others = eight_dimensions(pixels(queries)), eight_dimensions(pixels(gallery))
    ordered = []
    for query, row in zip(queries, rows, strict=True):
        found = []
        for photo, other in zip(gallery, others, strict=True):
            series = bool(photo.id) and (photo.id, photo.label) == (query.id, query.label)
            if photo.path != query.path and not series:
                differ = sum((a > 0) != (b > 0) for a, b in zip(row, other, strict=True))
                cosine = sum(float(a) * float(b) for a, b in zip(row, other, strict=True))
                found.append((differ, photo.label == query.label, round(-cosine, 5)))
        found.sort(key=lambda one: one[:2])  # False, the wrong ones, before True
        near = sorted(found[:count], key=lambda one: (one[2], one[1]))
        ordered.append([right for _, right, _ in near + found[count:]])
    return ordered


@pytest.mark.parametrize("count", [0, 1, 4, 12])
@pytest.mark.parametrize("ids", [False, True])
def test_binary_codes_are_ranked_as_by_hand(photos: list[Photo], ids: bool, count: int) -> None:
    some = [Photo(p.path, p.name, "ab"[n % 3 == 0], str(n % 4) if ids else "") for n, p in enumerate(photos)]
    for queries, gallery in ((some, None), (some[:8], some[4:])):
        found = evaluate_retrieval(
            eight_dimensions, queries, gallery, 0.5, silent, (1, 3), binary=True, rerank_embeddings=count
        )
        expected = metrics(by_codes(queries, gallery or queries, count), (1, 3))
        assert found.metrics == pytest.approx(expected, abs=1e-9)
    assert len({tuple(row) for row in by_codes(some, some, 0)}) > 1
    assert by_codes(some, some, 0) != by_codes(some, some, 4)


def test_binary_codes_show_the_fraction_of_equal_bits(photos: list[Photo], tmp_path: Path) -> None:
    found = evaluate_retrieval(eight_dimensions, photos, None, 0.5, silent, binary=True, rerank_embeddings=3)
    rows = eight_dimensions(pixels(photos)) > 0
    for number, (places, values) in enumerate(zip(found.nearest, found.similarities, strict=True)):
        shown = np.isfinite(values)
        np.testing.assert_allclose(values[shown], (rows[places[shown]] == rows[number]).mean(axis=1), atol=1e-6)
    assert summary(found)["bits"] == 8
    write_retrieval(found, tmp_path)
    assert (tmp_path / "neighbours.png").is_file()


@pytest.mark.parametrize("count", [0, 5])
def test_the_open_set_of_binary_codes_is_what_a_binary_gallery_answers(photos: list[Photo], count: int) -> None:
    """Each query queries a gallery without its label, though many of its `count` nearest bear it."""
    photos = [Photo(photo.path, photo.name, "ab"[photo.label in "ace"]) for photo in photos]
    rows = eight_dimensions(pixels(photos))
    threshold = float(np.median(rows @ rows.T))
    found = evaluate_retrieval(eight_dimensions, photos, None, threshold, silent, binary=True, rerank_embeddings=count)
    unknowns = 0
    for query, row in zip(photos, rows, strict=True):
        others = [number for number, photo in enumerate(photos) if photo.label != query.label]
        held = BinaryGallery([FolderItem(photos[n].name, photos[n].label) for n in others], rows[others], rerank=count)
        ((best,),) = held.search(row[None], 1)
        unknowns += best.similarity >= threshold
    assert found.open_set.unknowns == pytest.approx(unknowns / len(photos))
    assert 0 < unknowns < len(photos)


def test_dimensions_that_do_not_fill_bytes_are_refused(photos: list[Photo]) -> None:
    with pytest.raises(GalleryError, match="multiple of 8"):
        evaluate_retrieval(mean_colour, photos, None, 0.5, silent, binary=True)
