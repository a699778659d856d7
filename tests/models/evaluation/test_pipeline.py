"""The whole pipeline's eval set: which answer belongs to which thing, and what is counted."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.pipeline import LabelledItem, describe, evaluate_photos, pair_answers
from models.galleries.gallery import Gallery
from models.options import RecognizeOptions
from models.recognition.pipeline import Recognition, Recognizer
from models.training.data.query_photos import LabelledPhoto

IMAGE = np.zeros((100, 100, 3), np.uint8)


def answer(label: str, box: tuple[int, int, int, int] = (0, 0, 100, 100), similarity: float = 0.9) -> Recognition:
    return Recognition(box, 0.9, "detection", label, similarity, ())


def boxed(*things: tuple[str, tuple[int, int, int, int]]) -> LabelledPhoto:
    boxes = np.array([box for _, box in things], np.float32).reshape(-1, 4)
    return LabelledPhoto("x", tuple(label for label, _ in things), boxes, IMAGE)


LEFT, RIGHT, NEARLY_LEFT = (0, 0, 50, 100), (50, 0, 100, 100), (5, 0, 50, 100)


@pytest.mark.parametrize(
    ("answers", "photo", "pairs"),
    [
        ([answer("a", LEFT)], boxed(("a", LEFT), ("b", RIGHT)), {("a", "a"), ("b", None)}),
        ([answer("b", LEFT)], boxed(("a", LEFT), ("b", RIGHT)), {("a", "b"), ("b", None)}),
        ([answer("a", RIGHT)], boxed(("a", LEFT)), {(None, "a"), ("a", None)}),
        # an answer belongs to the thing of its own label first, though another fits its box better
        ([answer("b", LEFT)], boxed(("a", LEFT), ("b", NEARLY_LEFT)), {("b", "b"), ("a", None)}),
        # a thing is answered once
        ([answer("a", LEFT), answer("a", NEARLY_LEFT)], boxed(("a", LEFT)), {("a", "a"), (None, "a")}),
        ([], boxed(("a", LEFT)), {("a", None)}),
        ([answer("a", LEFT)], boxed(), {(None, "a")}),
        # without boxes
        ([answer("b")], LabelledPhoto("x", ("a",), None, IMAGE), {("a", "b")}),
        ([answer("b"), answer("a")], LabelledPhoto("x", ("a",), None, IMAGE), {("a", "a"), (None, "b")}),
        ([answer("c")], LabelledPhoto("x", ("a", "b"), None, IMAGE), {("a", None), ("b", None), (None, "c")}),
        ([answer("b"), answer("a")], LabelledPhoto("x", ("a", "b"), None, IMAGE), {("a", "a"), ("b", "b")}),
    ],
)
def test_each_thing_and_each_answer_is_counted_once(
    answers: list[Recognition], photo: LabelledPhoto, pairs: set[tuple[str | None, str | None]]
) -> None:
    found = pair_answers(answers, photo)
    assert set(found) == pairs
    assert len(found) == len(pairs)


class Colour:
    """Embeds a crop as which of its channels is brightest."""

    similarity_threshold = 0.5

    def __call__(self, crops: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.eye(3, dtype=np.float32)[[int(crop.reshape(-1, 3).sum(axis=0).argmax()) for crop in crops]]


def painted(channel: int, *labels: str) -> LabelledPhoto:
    image = np.zeros((20, 20, 3), np.uint8)
    image[..., channel] = 200
    return LabelledPhoto(f"{channel}", labels, None, image)


def test_found_right_and_unknowns_are_fractions() -> None:
    gallery = Gallery([LabelledItem("1", "red"), LabelledItem("2", "green")], np.eye(3, dtype=np.float32)[:2], "g", 1)
    photos = [painted(0, "red"), painted(1, "red"), painted(2, "blue"), painted(0, "teal"), painted(2, "green")]
    reported: list[tuple[str, int, int]] = []
    eval_set = evaluate_photos(
        Recognizer(None, Colour()),
        gallery,
        photos,
        RecognizeOptions(),
        lambda *what: reported.append(what),
        len(photos),
    )
    assert describe(eval_set) == {
        "found": 0.3333, "right": 0.3333, "unknowns answered": 0.5,
        "photos": 5, "things": 3, "answers": 3, "unknowns": 2,
    }  # fmt: skip
    assert eval_set.confusion.unknowns == {"blue", "teal"}
    assert eval_set.confusion.counts == {
        ("red", "red"): 1, ("red", "green"): 1, ("blue", None): 1, ("teal", "red"): 1, ("green", None): 1,
    }  # fmt: skip
    assert reported[-1] == ("recognising", 5, 5)
