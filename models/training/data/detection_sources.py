"""Where pictures with boxes come from: rendered scenes, cut-outs in scenes, annotated photos, photos that a teacher annotates."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.synth.designs import design_product
from models.synth.scenes import Source, render_scene
from models.training.data.collages import collage
from models.training.data.cutouts import cut_out
from models.training.data.detection_views import Picture
from models.training.data.photos import DatasetError, Photo, read_rgb, refuse_faults
from models.training.data.readers.boxes import BoxedPhoto, empty
from models.training.data.readers.coco import parse_coco
from models.training.data.readers.lists import read_list
from models.training.data.readers.pictures import require_files
from models.training.data.readers.text import read_lines
from models.training.data.readers.voc import read_voc
from models.training.recipes.detector_tables import PictureSource
from models.training.teachers.pseudo_boxes import open_box_teacher

Array = NDArray[np.float32]
MOST_BACKGROUNDS = 200
Progress = Callable[[str, int, int], None]  # what, done, of


def source_pictures(
    source: PictureSource, size_px: int, data: Path | None, processes: int, progress: Progress
) -> Iterator[Picture]:
    """The pictures to train on, at their own size. Raises DatasetError."""
    seeds = range(source.first_seed, source.first_seed + source.count)
    if source.kind == "rendered":
        yield from rendered_pictures(source.first_seed, source.count, size_px, processes, source.bare)
    elif source.kind == "cutouts":
        cuts, backdrops = _cut_outs(source, data), blurred_backgrounds(source, data)
        yield from map(partial(_render_cutouts, size_px=size_px, cuts=cuts, backdrops=backdrops), seeds)
    elif source.kind == "collages":
        photos = [photo for photo in annotated_photos(source, data, progress) if (~photo.crowd).any()]
        yield from map(partial(_collage, size_px=size_px, photos=photos), seeds)
    elif source.kind == "photos":
        root = below(data, source.name, source.root)
        teacher = below(data, source.name, source.teacher)
        held_out = False if source.holdout else None
        labelled = read_pseudo_labelled(root, source.file, source.delimiter, teacher, held_out=held_out)
        yield from (picture for picture in labelled if largest_fraction(picture) <= source.largest)
    else:
        annotated = open_photos(annotated_photos(source, data, progress))
        yield from (picture for picture in annotated if largest_fraction(picture) <= source.largest)


def picture_files(source: PictureSource, data: Path | None) -> list[Path]:
    """The photos that a source is made of; none for rendered products. Raises DatasetError."""
    if source.kind == "rendered":
        return []
    if source.kind in ("voc", "coco", "collages"):
        return [photo.path for photo in annotated_photos(source, data)]
    photos = read_list(below(data, source.name, source.root), source.file, source.delimiter)
    return [photo.path for photo in _split(photos, False if source.holdout and source.kind == "photos" else None)]


def annotated_photos(source: PictureSource, data: Path | None, progress: Progress | None = None) -> list[BoxedPhoto]:
    """The records of a "coco" or "voc" source that are trained on. Raises DatasetError naming every fault at once."""
    root = below(data, source.name, source.root)
    if source.kind == "voc":
        photos = read_voc(root, source.images)
        return photos[0::2] if source.holdout else photos
    photos, dropped = read_foreground(root, source.file, source.images)
    if dropped and progress is not None:
        progress(f"{source.name}: boxes without area, left out", dropped, dropped)
    return photos


def read_foreground(root: Path, file: str, images: str) -> tuple[list[BoxedPhoto], int]:
    """COCO's photos, and how many of their boxes were left out for having no area, as COCO's own files have some."""
    photos, faults = parse_coco(root, file, images)
    refuse_faults(file, faults, "fault(s)")
    if not photos:
        raise DatasetError(f"{file} names no images")
    return photos, sum(int(empty(photo.boxes).sum()) for photo in photos)


def open_photos(photos: Sequence[BoxedPhoto]) -> Iterator[Picture]:
    """Annotated photos with their pixels, one by one. Raises one DatasetError for all broken files (see `require_files`)."""
    require_files(photo.path for photo in photos)
    yield from map(open_photo, photos)


def open_photo(photo: BoxedPhoto) -> Picture:
    """An annotated photo with its pixels; boxes without area, or wholly outside, are left out."""
    image = read_rgb(photo.path)
    boxes = photo.clipped(image.shape[1], image.shape[0])
    whole = ~empty(boxes)
    return Picture(image, boxes[whole], np.where(photo.crowd[whole], 0, 1).astype(np.float32))


def read_pseudo_labelled(
    root: Path, file: str, delimiter: str, teacher: Path, *, held_out: bool | None = None
) -> Iterator[Picture]:
    """The photos of a list of whose boxes the teacher is sure: all, those to measure on, or (False) those to train on.

    Raises one DatasetError for all broken files (see `require_files`), ArtifactError, EngineError.
    """
    photos = _split(read_list(root, file, delimiter), held_out)
    require_files(photo.path for photo in photos)
    find = open_box_teacher(teacher)
    for photo in photos:
        image = read_rgb(photo.path)
        found = find(image)
        if found is not None:
            yield Picture(image, found.boxes, found.weights)


def largest_fraction(picture: Picture) -> float:
    """Of the picture that its largest object takes; 0 without one."""
    height, width = picture.image.shape[:2]
    objects = picture.boxes[picture.certainty > 0]
    sides = objects[:, 2:] - objects[:, :2]
    return float(np.prod(sides, axis=1).max(initial=0.0) / (height * width))


def below(data: Path | None, name: str, path: str) -> Path:
    """`path` in the data folder. Raises DatasetError where there is no such folder."""
    if data is None:
        raise DatasetError(f"the recipe's source {name!r} needs a data folder (--data)")
    return data / path


def rendered_pictures(
    first_seed: int, count: int, size_px: int, processes: int = 1, bare: float = 0.0
) -> Iterator[Picture]:
    """Scenes of the seeds from `first_seed` on, rendered at `size_px` or more; a fraction of them `bare` of products."""
    seeds, render = range(first_seed, first_seed + count), partial(_render, size_px=size_px, bare=bare)
    if processes == 1:
        yield from map(render, seeds)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as executor:
        yield from executor.map(render, seeds, chunksize=16)


def _split(photos: Sequence[Photo], held_out: bool | None) -> list[Photo]:
    """All photos, every fifth (True) or the others (False)."""
    return [photo for number, photo in enumerate(photos) if held_out is None or (number % 5 == 4) == held_out]


def _render(seed: int, size_px: int, bare: float) -> Picture:
    """A scene of products that their own seeds decide, in a random shape of picture."""
    empty_handed = bare > 0 and np.random.default_rng([seed, 33]).random() < bare
    rng = np.random.default_rng([seed, 31])
    sources: list[Source] = [(str(design), design_product(int(design))) for design in rng.integers(0, 1 << 20, 5)]
    return _scene(sources, size_px, rng, 0 if empty_handed else None)


def _render_cutouts(
    seed: int, size_px: int, cuts: list[tuple[str, NDArray[np.uint8]]], backdrops: Sequence[NDArray[np.uint8]] = ()
) -> Picture:
    """A scene of products cut out of photos, at times before another photo."""
    rng = np.random.default_rng([seed, 32])
    sources: list[Source] = [cuts[int(index)] for index in rng.permutation(len(cuts))[:5]]
    return _scene(sources, size_px, rng, backgrounds=backdrops)


def _collage(seed: int, size_px: int, photos: Sequence[BoxedPhoto]) -> Picture:
    """Objects of photos side by side."""
    rng = np.random.default_rng([seed, 34])
    return collage(lambda lot: open_photo(photos[int(lot.integers(len(photos)))]), size_px, rng)


def blurred_backgrounds(source: PictureSource, data: Path | None) -> list[NDArray[np.uint8]]:
    """Photos as backgrounds of a source's scenes, blurred: what is in them is not to be found."""
    if not source.backgrounds:
        return []
    path = below(data, source.name, source.backgrounds)
    delimiter = "\t" if "\t" in read_lines(path)[0] else ","
    photos = read_list(path.parent, path.name, delimiter)
    chosen = np.linspace(0, len(photos) - 1, min(len(photos), MOST_BACKGROUNDS)).astype(int)
    rng = np.random.default_rng([source.first_seed, 35])
    images = [read_rgb(photos[int(index)].path) for index in chosen]
    return [np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(1.5, 6.0)), np.uint8) for image in images]


def _cut_outs(source: PictureSource, data: Path | None) -> list[tuple[str, NDArray[np.uint8]]]:
    """What stands before a plain background in the photos of a list; the others are passed over."""
    root = below(data, source.name, source.root)
    photos = read_list(root, source.file, source.delimiter)
    cuts = [(photo.name, cut_out(read_rgb(photo.path))) for photo in photos]
    found = [(name, cut) for name, cut in cuts if cut is not None]
    if not found:
        raise DatasetError(f"no photo of {source.name!r} stands before a plain background, so nothing can be cut out")
    return found


def _scene(
    sources: list[Source],
    size_px: int,
    rng: np.random.Generator,
    count: int | None = None,
    backgrounds: Sequence[NDArray[np.uint8]] = (),
) -> Picture:
    shape = np.exp(rng.uniform(-0.35, 0.35))
    size = (round(size_px * max(1.0, shape)), round(size_px * max(1.0, 1 / shape)))
    clutter = float(rng.uniform(0.1, 1.0))
    scene = render_scene(sources, size, rng, count=count, clutter=clutter, scale=(0.12, 0.9), backgrounds=backgrounds)
    return Picture(scene.image, np.asarray(scene.boxes, np.float32).reshape(-1, 4))
