from pathlib import Path

import numpy as np
from PIL import Image

from models.evaluation.photo_sets import PhotoEvalSet
from models.evaluation.verified_recall import verified_recall
from models.pictures.augmented_view import augmented_view
from models.training.data.photos import Photo
from models.training.data.pool import on_grey, product_views


def quiet(*_: object) -> None:
    """Hears nothing."""


def split(folder: Path, *, gallery: bool) -> PhotoEvalSet:
    """A picture of each of four rendered products and another view of it; with `gallery`, the first ones are searched."""
    photos, labels, marks = [], [], []
    for label in range(4):
        picture = on_grey(product_views(3_100_000 + label, 1, 300)[0])
        for number, view in enumerate((picture, augmented_view(picture, label))):
            path = folder / f"{label}-{number}.png"
            Image.fromarray(view).save(path)
            photos.append(Photo(path, path.name, str(label)))
            labels.append(label)
            marks.append(gallery and number == 0)
    return PhotoEvalSet("rendered", tuple(photos), np.array(labels), np.array(marks))


def test_agreement_decides_where_embeddings_are_equal(tmp_path: Path) -> None:
    recall = verified_recall(np.ones((8, 3), np.float32), split(tmp_path, gallery=True), quiet)
    assert recall >= 0.75


def test_no_photo_answers_itself_and_a_clear_embedding_stays(tmp_path: Path) -> None:
    made = split(tmp_path, gallery=False)
    right = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)
    assert verified_recall(right, made, quiet) == 1.0
    wrong = np.eye(8, dtype=np.float32)[
        [0, 1, 2, 3, 1, 0, 3, 2]
    ]  # each is like a picture of another product, 25 % too far
    assert verified_recall(wrong * np.float32(1), made, quiet) < 1.0
