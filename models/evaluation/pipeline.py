"""Evaluates the whole pipeline, photo in and labels out: on rendered scenes, and on a user's photos with or without boxes."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.boxes import iou
from models.evaluation.confusion import Confusion, Pair, count_pairs, write_confusion
from models.evaluation.eval_sets import FIRST_EVAL_SEED
from models.evaluation.retrieval import Progress, embed_photos
from models.galleries.gallery import Gallery
from models.options import RecognizeOptions
from models.recognition.pipeline import Recognition, Recognizer
from models.synth.designs import design_product
from models.synth.products import packshot
from models.synth.scenes import render_scene
from models.training.data.photos import Photo
from models.training.data.query_photos import LabelledPhoto

PRODUCTS, SCENES = 60, 60
MATCH_IOU = 0.5

Embed = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]]


@dataclass(frozen=True)
class PipelineEvaluation:
    """How the photos were answered. An unknown is a thing whose label the gallery has not: no answer is right."""

    photos: int
    known_objects: int  # things with a label of the gallery
    answers: int
    right: int  # answers with the label of a thing at their place
    unknowns: int
    unknowns_answered: int
    confusion: Confusion

    @property
    def metrics(self) -> dict[str, float]:
        """`found`: fraction of things that were answered rightly. `right`: fraction of answers that are right."""
        found = {"found": self.right / self.known_objects} if self.known_objects else {}
        right = {"right": self.right / max(1, self.answers)}
        known = {**found, **right}
        if self.unknowns:
            known["unknowns answered"] = self.unknowns_answered / self.unknowns
        return {name: round(value, 4) for name, value in known.items()}


@dataclass(frozen=True)
class LabelledItem:
    """An item of a gallery that lives in memory only."""

    id: str
    label: str


def evaluate_photos(
    recognize: Recognizer,
    gallery: Gallery,
    photos: Iterable[LabelledPhoto],
    options: RecognizeOptions,
    progress: Progress,
    count: int,
) -> PipelineEvaluation:
    """Every photo recognised against the gallery, and its answers paired with what it shows. Raises ModelError."""
    known = {item.label for item in gallery.items}
    pairs: list[Pair] = []
    done = answered = unknowns = unknowns_answered = 0
    for photo in photos:
        answers = recognize(photo.read(), gallery, options).recognitions
        own = pair_answers(answers, photo)
        of_unknowns = [answer for truth, answer in own if truth is not None and truth not in known]
        unknowns += len(of_unknowns)
        unknowns_answered += sum(answer is not None for answer in of_unknowns)
        answered += len(answers)
        pairs += own
        done += 1
        progress("recognising", done, count)
    unknown = {truth for truth, _ in pairs if truth is not None} - known
    known_objects = sum(truth is not None for truth, _ in pairs) - unknowns
    right = sum(truth is not None and truth == answer for truth, answer in pairs)
    return PipelineEvaluation(
        done, known_objects, answered, right, unknowns, unknowns_answered, count_pairs(pairs, (), unknown)
    )


def pair_answers(answers: Sequence[Recognition], photo: LabelledPhoto) -> list[Pair]:
    """Each thing of the photo and each answer once: (truth, answer), None for what is missing on either side.

    An answer belongs to a thing where their boxes overlap enough, one with its own label first. Without boxes to a thing
    of its label; in a photo of one thing a wrong answer is an answer for that thing.
    """
    fits = _overlap(answers, photo)  # (A, T), 0 where they do not
    own = np.array([[answer.label == label for label in photo.labels] for answer in answers], np.bool_)
    own = own.reshape(fits.shape)
    truth_of: dict[int, int] = {}
    for answer, truth in sorted(
        zip(*np.nonzero(fits), strict=True), key=lambda at: (not own[at], -fits[at], answers[at[0]].similarity * -1)
    ):
        if int(answer) not in truth_of and int(truth) not in truth_of.values():
            truth_of[int(answer)] = int(truth)
    pairs: list[Pair] = [(photo.labels[truth], answers[answer].label) for answer, truth in truth_of.items()]
    pairs += [(None, answer.label) for number, answer in enumerate(answers) if number not in truth_of]
    found = set(truth_of.values())
    return pairs + [(label, None) for number, label in enumerate(photo.labels) if number not in found]


def _overlap(answers: Sequence[Recognition], photo: LabelledPhoto) -> NDArray[np.float32]:
    shape = (len(answers), len(photo.labels))
    if photo.boxes is None:
        fits = [[float(len(photo.labels) == 1 or a.label == label) for label in photo.labels] for a in answers]
        return np.array(fits, np.float32).reshape(shape)
    if not all(shape):
        return np.zeros(shape, np.float32)
    overlaps = iou(np.array([answer.box for answer in answers], np.float32), photo.boxes)
    return np.asarray(np.where(overlaps >= MATCH_IOU, overlaps, 0), np.float32)


def evaluate_pipeline(
    recognize: Recognizer, embed: Embed, progress: Progress, scenes: int, products: int
) -> PipelineEvaluation:
    """Scenes of rendered products never trained on, searched in a gallery of their packshots."""
    designs = [(str(seed), design_product(FIRST_EVAL_SEED + seed)) for seed in range(0, 4 * products, 4)]
    items = [LabelledItem(label, label) for label, _ in designs]
    gallery = Gallery(items, embed([packshot(design, 256) for _, design in designs]), "evaluation", 1)

    def rendered() -> Iterator[LabelledPhoto]:
        rng = np.random.default_rng(11)
        for number in range(scenes):
            chosen = [designs[i] for i in rng.choice(len(designs), 4, replace=False)]
            scene = render_scene(chosen, (480, 640), rng, count=4, scale=(0.25, 0.5))
            yield LabelledPhoto(f"scene {number}", scene.labels, scene.boxes, scene.image)

    return evaluate_photos(recognize, gallery, rendered(), RecognizeOptions(max_detections=10), progress, scenes)


def photo_gallery(embed: Embed, photos: Sequence[Photo], progress: Progress) -> Gallery:
    """The gallery that photos of one thing each make. Raises ModelError."""
    items = [LabelledItem(photo.name, photo.label) for photo in photos]
    return Gallery(items, embed_photos(embed, photos, "gallery", progress), "evaluation", 1)


def write_pipeline(evaluation: PipelineEvaluation, folder: Path) -> None:
    """`metrics.json` and the confusion table in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(describe(evaluation), indent=2) + "\n", encoding="utf-8")
    write_confusion(evaluation.confusion, folder)


def describe(evaluation: PipelineEvaluation) -> dict[str, float]:
    """The metrics and what they are fractions of."""
    counts = {
        "photos": evaluation.photos,
        "things": evaluation.known_objects,
        "answers": evaluation.answers,
        "unknowns": evaluation.unknowns,
    }
    return {**evaluation.metrics, **counts}
