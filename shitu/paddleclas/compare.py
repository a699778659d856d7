"""PaddleClas' procedure and ours next to one another, on the same photos and the same gallery: what differs, and a picture."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from models.boxes import iou
from models.errors import EngineError, GalleryError
from models.pictures.image import decode
from models.recognition.paddleclas_index import INDEX
from models.recognition.pipeline import Recognizer
from shitu.cli.annotate import annotate
from shitu.paddleclas.networks import folder_of
from shitu.paddleclas.reference import Reference, heads_of, their_program
from shitu.paddleclas.resizing import crop_interpolation, photo_interpolation
from shitu.paddleclas.system import System, threads_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from shitu.paddleclas.config import Config

SAME_OBJECT = 0.5  # IoU from which two boxes are of one object
SAME_BOX = 0.9
SAME_SCORE = 0.01  # their own engines differ by half of it
PANEL_PX = 900  # the longer side of each panel of the picture
CAPTION_PX = 22
NAMES = ("PaddleClas", "ShiTu")


@dataclass(frozen=True)
class Answer:
    """One answer of either: box in whole pixels, label, similarity."""

    box: tuple[int, int, int, int]
    label: str
    score: float

    def to_dict(self) -> dict[str, Any]:
        return {"box": list(self.box), "label": self.label, "score": round(self.score, 6)}


@dataclass(frozen=True)
class Pair:
    """Their answer and ours about one object; either may be missing. `differs` is empty where they are alike."""

    theirs: Answer | None
    ours: Answer | None
    overlap: float | None
    differs: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "theirs": None if self.theirs is None else self.theirs.to_dict(),
            "ours": None if self.ours is None else self.ours.to_dict(),
            "iou": None if self.overlap is None else round(self.overlap, 4),
            "differs": list(self.differs),
        }


class Comparison:
    """Both, loaded by one configuration. Raises ModelError; EngineError where PaddlePaddle is not installed.

    With `compat` ours is the option of that name; else it is what the service answers by itself.
    """

    def __init__(self, config: Config, *, compat: bool = False) -> None:
        if importlib.util.find_spec("paddle") is None:
            detail = "Their procedure runs on PaddlePaddle, which is not installed: pip install 'shitu[train]'."
            raise EngineError(detail, "engine_not_installed")
        self.compat = compat
        self.system = System(config)
        if self.system.gallery is None:
            raise GalleryError("A gallery of binary codes (dist_type hamming) can't be compared.")
        self.gallery = self.system.gallery
        self.recognizer = Recognizer(self.system.detector, self.system.embedder)
        self.reference = self._reference(config)

    @property
    def engines(self) -> dict[str, list[str]]:
        """What runs the detector, if there is one, and the embedder of each."""
        ours = [*([] if self.system.detector is None else [self.system.detector.engine]), self.system.embedder.engine]
        programs = [self.reference.detector, self.reference.embedder]
        return {"theirs": [one.engine for one in programs if one is not None], "ours": ours}

    def __call__(self, data: bytes) -> tuple[NDArray[np.uint8], list[Pair]]:
        """The photo (H, W, 3) RGB, and the answers of both paired by their boxes, theirs first. Raises ImageError."""
        image = decode(data, colour_managed=not self.compat)
        theirs = [_answer(one["bbox"], one["rec_docs"], one["rec_scores"]) for one in self.reference.predict(data)]
        if self.compat:
            ours = [_answer(one["bbox"], one["rec_docs"], one["rec_scores"]) for one in self.system(image)]
        else:
            found = self.recognizer(image, self.gallery).recognitions
            ours = [_answer(one.box, one.label, one.similarity) for one in found]
        return image, paired(theirs, ours)

    def _reference(self, config: Config) -> Reference:
        import faiss

        threads, options = threads_of(config), self.system.options
        faiss.omp_set_num_threads(threads)
        file = Path(config.text("IndexProcess.index_dir")) / INDEX
        detector, side = None, 0
        if self.system.detector is not None:
            detector, side = _model(config, "det"), self.system.detector.manifest.input.height
        embedder = _model(config, "rec")
        return Reference(
            None if detector is None else their_program(detector, threads),
            their_program(embedder, threads),
            faiss.deserialize_index(np.frombuffer(file.read_bytes(), np.uint8)),
            options.detection_threshold or 0.0,
            options.max_detections,
            (side, self.system.embedder.manifest.input.height),
            None if detector is None else heads_of(detector),
            {int(item.id): item.line for item in self.system.items},
            float(config.get("IndexProcess.score_thres", 0.5)),
            options.suppression_iou,
            config.whole("IndexProcess.return_k", 5),
            crop_interpolation(config),
            photo_interpolation(config),
        )


def paired(theirs: Sequence[Answer], ours: Sequence[Answer]) -> list[Pair]:
    """Each of theirs with that of ours that overlaps it most, from `SAME_OBJECT` on; then what is left of ours."""
    overlaps = iou(_boxes(theirs), _boxes(ours))
    partner: dict[int, int] = {}
    for flat in np.argsort(-overlaps, axis=None, kind="stable"):
        a, b = divmod(int(flat), len(ours))
        if overlaps[a, b] >= SAME_OBJECT and a not in partner and b not in partner.values():
            partner[a] = b
    pairs = []
    for at, one in enumerate(theirs):
        if at not in partner:
            pairs.append(Pair(one, None, None, ("only theirs",)))
            continue
        other, overlap = ours[partner[at]], float(overlaps[at, partner[at]])
        unlike = [
            name
            for name, differs in (
                ("label", one.label not in {other.label, "".join(other.label.split()[:1])}),  # theirs is cut at a blank
                ("box", overlap < SAME_BOX),
                ("score", abs(one.score - other.score) > SAME_SCORE),
            )
            if differs
        ]
        pairs.append(Pair(one, other, overlap, tuple(unlike)))
    left = [Pair(None, one, None, ("only ours",)) for at, one in enumerate(ours) if at not in partner.values()]
    return pairs + left


def picture(image: NDArray[np.uint8], pairs: Sequence[Pair]) -> Image.Image:
    """Their answers on the left and ours on the right, each over the photo, at most `PANEL_PX` on its longer side."""
    whole = Image.fromarray(image)
    scale = min(1.0, PANEL_PX / max(whole.size))
    small = whole.resize((max(1, round(whole.width * scale)), max(1, round(whole.height * scale))))
    caption = CAPTION_PX + CAPTION_PX // 2
    sheet = Image.new("RGB", (2 * small.width + CAPTION_PX, small.height + caption), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(CAPTION_PX)
    for at, (name, answers) in enumerate(
        zip(NAMES, ([one.theirs for one in pairs], [one.ours for one in pairs]), strict=True)
    ):
        found = [
            {"box": [side * scale for side in one.box], "label": one.label, "confidence": one.score}
            for one in answers
            if one is not None
        ]
        left = at * (small.width + CAPTION_PX)
        sheet.paste(annotate(np.asarray(small), found), (left, caption))
        draw.text((left, CAPTION_PX // 4), name if found else f"{name}: nothing", fill="black", font=font)
    return sheet


def _model(config: Config, kind: str) -> Path:
    key = f"Global.{kind}_inference_model_dir"
    return folder_of(config.text(key), key)


def _answer(box: Sequence[float], label: str, score: float) -> Answer:
    x1, y1, x2, y2 = (int(side) for side in box)
    return Answer((x1, y1, x2, y2), label, float(score))


def _boxes(answers: Sequence[Answer]) -> NDArray[np.float32]:
    return np.array([one.box for one in answers], np.float32).reshape(-1, 4)
