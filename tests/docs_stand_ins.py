"""What stands in for the data sets, photos and weights that docs/training.md speaks of: drawn, small, in the same layouts."""

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.training.data.readers.grocery import HEADER
from tests.models.programs import LABELS, official_archive
from tests.models.training.teachers.test_pseudo_boxes import BOTTLE, network

SIDE = 64
BOX = (16, 12, 48, 56)  # of the product in its picture: left, top, right, bottom
Picture = NDArray[np.uint8]


def product(label: int, view: int) -> Picture:
    """A two-coloured package before a plain background, as (SIDE, SIDE, 3) RGB; views differ in their light."""
    upper, lower = np.random.default_rng(label).integers(20, 200, (2, 3))
    picture = np.full((SIDE, SIDE, 3), 245, np.int64)
    left, top, right, bottom = BOX
    picture[top:bottom, left:right] = upper
    picture[(top + bottom) // 2 : bottom, left:right] = lower
    return np.clip(picture - 8 * view, 0, 255).astype(np.uint8)


def write_list(file: Path, delimiter: str = "\t", labels: int = 6, columns: int = 2) -> None:
    """A list of two pictures of each label, and the pictures next to it; a third column tells one view from the other."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for label in range(labels):
        for view in range(2):
            name = f"{file.stem}-{label}-{view}.png"
            Image.fromarray(product(label, view)).save(file.parent / name)
            lines.append(delimiter.join((name, f"label{label}", f"view{view}")[:columns]))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_folders(root: Path, labels: int = 6) -> None:
    """A folder of two pictures for each label."""
    for label in range(labels):
        (root / f"label{label}").mkdir(parents=True)
        for view in range(2):
            Image.fromarray(product(label, view)).save(root / f"label{label}" / f"{view}.png")


def write_voc(root: Path, photos: int = 8) -> None:
    """`images/` and `annotations/` as Pascal VOC has them."""
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    sides = zip(("xmin", "ymin", "xmax", "ymax"), (BOX[0] + 1, BOX[1] + 1, *BOX[2:]), strict=True)  # VOC counts from 1
    box = "".join(f"<{side}>{at}</{side}>" for side, at in sides)
    for number in range(photos):
        Image.fromarray(product(number, 0)).save(root / "images" / f"{number}.png")
        (root / "annotations" / f"{number}.xml").write_text(
            f"<annotation><filename>{number}.png</filename>"
            f"<size><width>{SIDE}</width><height>{SIDE}</height><depth>3</depth></size>"
            f"<object><name>thing</name><bndbox>{box}</bndbox></object></annotation>",
            encoding="utf-8",
        )


def write_coco(file: Path, labels: int = 4) -> None:
    """A COCO file and its photos in `images/` beside it: each shows the products of two labels."""
    (file.parent / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(labels):
        pair = (number, (number + 1) % labels)
        Image.fromarray(np.hstack([product(label, 0) for label in pair])).save(file.parent / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 2 * SIDE, "height": SIDE})
        for place, label in enumerate(pair):
            left, top, right, bottom = BOX
            box = [left + place * SIDE, top, right - left, bottom - top]
            annotations.append({"id": len(annotations), "image_id": number, "category_id": label, "bbox": box})
    categories = [{"id": label, "name": f"label{label}"} for label in range(labels)]
    file.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories}), encoding="utf-8"
    )


def write_pseudo_boxes(file: Path, photos: Path) -> None:
    """A COCO file of one box in each photo of a list; its names are relative to the folder above the file's."""
    names = [line.split("\t")[0] for line in photos.read_text(encoding="utf-8").splitlines()]
    inside = photos.parent.relative_to(file.parent.parent)
    left, top, right, bottom = BOX
    box = [left, top, right - left, bottom - top]
    table = {
        "images": [{"id": n, "file_name": (inside / name).as_posix()} for n, name in enumerate(names)],
        "annotations": [{"id": n, "image_id": n, "category_id": 1, "bbox": box} for n in range(len(names))],
        "categories": [{"id": 1, "name": "body"}],
    }
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(table), encoding="utf-8")


def write_data(data: Path) -> None:
    """What the page calls `../data`: drinks, grocery and raccoon in their own layouts, and the teachers."""
    write_list(data / "drinks" / "labels.tsv")
    names = np.array([line.split("\t")[0] for line in (data / "drinks" / "labels.tsv").read_text().splitlines()])
    vectors = np.random.default_rng(1).normal(size=(len(names), 512))
    np.savez(data / "drinks" / "ppshitu_v1_embeddings.npz", path=names, embedding=vectors)
    write_list(data / "grocery" / "train.txt", ", ")
    write_list(data / "grocery" / "val.txt", ", ")
    write_packshots(data / "grocery" / "classes.csv")
    write_pretrained(data / "lite0.pth")
    write_voc(data / "raccoon")
    write_list(data / "trash" / "labels.tsv")
    for name in ("grocery_train", "grocery_val", "drinks", "caltech101", "trash"):
        write_pseudo_boxes(data / "pseudo" / f"{name}.json", data / "drinks" / "labels.tsv")
    teachers = data / "teachers"
    teachers.mkdir()
    _write_teacher(teachers / "features.xml")
    network(teachers / "boxes.xml", ((16, 7), BOTTLE, 0.9))


def write_packshots(file: Path, labels: int = 6) -> None:
    """GroceryStoreDataset's table of classes, and a packshot of each."""
    rows = [f"{HEADER},Coarse Class Name (str),Coarse Class ID (int),Iconic Image Path (str)"]
    for label in range(labels):
        Image.fromarray(product(label, 0)).save(file.parent / f"packshot-{label}.png")
        rows.append(f"Thing {label},label{label},Things,0,/packshot-{label}.png")
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_pretrained(file: Path) -> None:
    """Weights of EfficientNet-Lite0, as a PyTorch file."""
    from models.nets.efficientnet_lite import EfficientNetLite
    from tests.models.nets.test_efficientnet_lite import published
    from tests.models.nets.test_torch_file import write_arrays

    write_arrays(file, published(EfficientNetLite()))


def _write_teacher(file: Path) -> None:
    """A network of pictures (1, SIDE, SIDE, 3) whose layer "head" follows on 512 mixtures of their mean colour."""
    import openvino as ov
    from openvino import opset13 as ops

    image = ops.parameter([1, SIDE, SIDE, 3], np.uint8, name="image")
    mean = ops.reduce_mean(ops.convert(image, np.float32), ops.constant(np.array([1, 2])), False)
    mixed = np.random.default_rng(2).normal(size=(3, 512)).astype(np.float32)
    pooled = ops.matmul(mean, ops.constant(mixed), False, False)
    head = ops.matmul(pooled, ops.constant(np.ones((512, 2), np.float32)), False, False, name="head")
    ov.save_model(ov.Model([head], [image]), file, compress_to_fp16=False)


def write_official_weights(folder: Path, names: Iterable[str]) -> None:
    """`.pdparams` of these classifiers, by their published names."""
    import paddle

    from models.nets.named import build

    for name in names:
        paddle.seed(3)
        published = f"{name}_pretrained.pdparams"
        paddle.save(build(name.removesuffix("_ssld"), 1000).state_dict(), str(folder / published))


def write_pulled(cache: Path, name: str) -> None:
    """An official classifier as `shitu models pull` leaves it, with as many classes as LABELS."""
    made = official_archive(cache / "made", "classify")
    sha256 = hashlib.sha256((made / "inference.pdmodel").read_bytes()).hexdigest()
    shutil.move(made, cache / sha256 / name)
    (cache / f"{name}.json").write_text(json.dumps({"url": "http://localhost/model.tar", "sha256": sha256}))


def write_class_map(file: Path) -> None:
    """The names of that classifier's classes."""
    file.write_text("".join(f"{number} {label}\n" for number, label in enumerate(LABELS)), encoding="utf-8")
