"""PaddleClas at the border: keys, result format, and galleries written as PaddleClas writes them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import GalleryError
from models.galleries.gallery import Gallery, Match
from models.options import OptionsError, RecognizeOptions
from models.recognition.paddleclas import items_of, options_from_config, read_gallery, read_id_map, to_paddleclas
from models.recognition.paddleclas_index import TheirIndex
from models.recognition.pipeline import Recognition, Recognitions

DIM = 16


def test_their_keys_become_our_options() -> None:
    drink = {
        "Global": {
            "threshold": 0.2,
            "max_det_results": 5,
            "rec_nms_thresold": 0.05,
            "rec_nms_threshold": 0.9,  # spelt right it is none of their keys
            "label_list": ["foreground"],
        },
        "IndexProcess": {"score_thres": 0.4, "return_k": 5, "dist_type": "IP", "index_method": "HNSW32"},
        "RecPostProcess": None,
    }
    assert options_from_config(drink) == RecognizeOptions(
        detection_threshold=0.2,
        max_detections=5,
        similarity_threshold=0.4,
        top_k=5,
        whole_image="always",
        suppression_iou=0.05,
        compat="paddleclas",
    )
    other = {
        "Global": {"threshold": 0.35, "max_det_results": 1, "rec_nms_thresold": 0.5},
        "IndexProcess": {"return_k": 7},
    }
    found = options_from_config(other)
    assert (found.detection_threshold, found.max_detections, found.suppression_iou, found.top_k) == (0.35, 1, 0.5, 7)
    assert found.similarity_threshold is None
    assert options_from_config({}).compat == "paddleclas"


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"Global": {"rec_nms_thresold": 7}}, "Global.rec_nms_thresold"),
        ({"IndexProcess": {"score_thres": "high"}}, "IndexProcess.score_thres"),
        ({"IndexProcess": {"dist_type": "hamming"}}, "dist_type"),
        ({"IndexProcess": {"dist_type": "L2"}}, "dist_type"),
        ({"Global": [1]}, "Global"),
    ],
)
def test_a_wrong_value_is_reported_by_their_key(config: dict[str, Any], named: str) -> None:
    with pytest.raises(OptionsError) as refused:
        options_from_config(config)
    assert refused.value.option == named


def test_the_results_have_their_format() -> None:
    class Named:
        id, label = "1", "元气森林"

    match = Match(Named(), 0.7740249)
    one = Recognition((437, 71, 660, 728), 0.9, "detection", "元气森林", match.similarity, (match,))
    found = Recognitions(1200, 802, (one,), (), None, {})
    assert to_paddleclas(found) == [{"bbox": [437, 71, 660, 728], "rec_docs": "元气森林", "rec_scores": 0.7740249}]
    assert to_paddleclas(Recognitions(1, 1, (), (), "nothing_recognized", {})) == []


def write_gallery(
    folder: Path, factory: str, count: int = 40, metric: int = faiss.METRIC_INNER_PRODUCT, protocol: int | None = None
) -> NDArray[np.float32]:
    """As their build writes it: an IndexIDMap2 of `factory`, and the lines by int64 ids, pickled."""
    rows = np.random.default_rng(3).normal(size=(count, DIM)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index = faiss.IndexIDMap2(faiss.index_factory(DIM, factory, metric))
    ids = np.arange(count, dtype=np.int64)
    index.train(rows)
    index.add_with_ids(rows, ids)
    faiss.write_index(index, str(folder / "vector.index"))
    lines = {number: f"gallery/{number}.jpg\tdrink {number % 4}" for number in list(ids)}
    (folder / "id_map.pkl").write_bytes(pickle.dumps(lines, protocol=protocol))
    return rows


@pytest.mark.parametrize("factory", ["Flat", "HNSW32", "IVF4,Flat"])
def test_their_galleries_are_read(tmp_path: Path, factory: str) -> None:
    rows = write_gallery(tmp_path, factory)
    items, embeddings = read_gallery(tmp_path)
    by_id = {item.id: row for item, row in zip(items, embeddings, strict=True)}
    assert len(items) == 40
    for number, row in enumerate(rows):
        np.testing.assert_array_equal(by_id[str(number)], row)
    first = next(item for item in items if item.id == "1")
    assert (first.label, first.path) == ("drink 1", "gallery/1.jpg")  # the label is whole, its blank included
    match = Gallery(items, embeddings).search(rows[5:6], 1)[0][0]
    assert (match.item.id, match.item.label) == ("5", "drink 1")


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_the_pickles_of_all_their_pythons_are_read(protocol: int) -> None:
    lines = {np.int64(0): "a.jpg\ttea", np.int32(7): "b.jpg\ttea", 9: "c.jpg tea"}
    assert read_id_map(pickle.dumps(lines, protocol=protocol)) == {0: "a.jpg\ttea", 7: "b.jpg\ttea", 9: "c.jpg tea"}
    old_name = pickle.dumps(lines, protocol=protocol).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    if protocol == 3:  # there names carry no length
        assert read_id_map(old_name)[7] == "b.jpg\ttea"
    assert read_id_map(pickle.dumps({np.int64(-3): "x y", np.uint8(200): "z y"})) == {-3: "x y", 200: "z y"}
    assert read_id_map(pickle.dumps({np.dtype(">i8").type(258): "x y"})) == {258: "x y"}


class Runs:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "evil",
    [
        Runs(os.system, "exit 1"),
        {0: Runs(os.system, "exit 1")},
        Runs(eval, "1"),
        Runs(getattr, "a", "upper"),
        Runs(np.dtype, "O"),
        np.arange(3),
        np.float64(1.5),
        {0: b"bytes"},
        {"0": "text"},
        {True: "text"},
        [0, 1],
        None,
    ],
)
def test_nothing_else_is_unpickled(evil: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.dumps(evil)
    monkeypatch.setattr(os, "system", lambda _: pytest.fail("it was run"))
    with pytest.raises(GalleryError):
        read_id_map(data)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x80\x04", b"cos\nsystem\n(S'exit 1'\ntR.", b"P1\n."])
def test_a_broken_pickle_is_reported(data: bytes) -> None:
    with pytest.raises(GalleryError):
        read_id_map(data)


def test_files_that_do_not_belong_together_are_reported(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="folder with"):
        read_gallery(tmp_path)
    write_gallery(tmp_path, "Flat")
    (tmp_path / "id_map.pkl").write_bytes(pickle.dumps({0: "a b"}))
    with pytest.raises(GalleryError, match="do not belong together"):
        read_gallery(tmp_path)
    write_gallery(tmp_path, "Flat", metric=faiss.METRIC_L1)
    with pytest.raises(GalleryError, match="neither by inner product nor by L2"):
        read_gallery(tmp_path)
    write_gallery(tmp_path, "Flat")
    (tmp_path / "vector.index").write_bytes(b"IxMp garbage")
    with pytest.raises(GalleryError, match="no Faiss index"):
        read_gallery(tmp_path)
    write_gallery(tmp_path, "Flat", count=1)
    (tmp_path / "id_map.pkl").write_bytes(pickle.dumps({0: "only-a-path.jpg"}))
    ((item,), _) = read_gallery(tmp_path)
    assert item.label == ""  # the importer reports it, and takes the others


def test_an_index_of_paddlex_is_named_as_one(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match=r"vector.index and id_map.pkl.$"):
        read_gallery(tmp_path)
    (tmp_path / "id_map.yaml").write_text("id_map: {0: cola}\n")
    with pytest.raises(GalleryError, match="`shitu gallery import` takes"):
        read_gallery(tmp_path)


@pytest.mark.parametrize(
    ("line", "delimiter", "path", "label"),
    [
        ("a b/3.jpg\tgreen tea\t7", None, "a b/3.jpg", "green tea"),
        ("a b/3.jpg green tea", None, "a b/3.jpg", "green tea"),
        ("\ufeffa/3.JPG;cola, large;7", None, "a/3.JPG", "cola, large"),
        ("a/3.jpg,cola", "\t", "a/3.jpg", "cola"),
        ("a/3.jpg::green tea::7", "::", "a/3.jpg", "green tea"),
        ("no-ending cola", None, "no-ending", "cola"),
        ("alone.jpg", None, "alone.jpg", ""),
    ],
)
def test_a_line_is_cut_into_path_and_label(line: str, delimiter: str | None, path: str, label: str) -> None:
    index = TheirIndex((4,), np.zeros((1, 8), np.float32), "IP")
    (item,) = items_of(index, {4: line}, delimiter)
    assert (item.path, item.label, item.line) == (path, label, line)
