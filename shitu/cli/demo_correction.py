"""The demo's correction: a product that the gallery lacks is not recognised, one box of its photo is enrolled, and then it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.synth.designs import ProductDesign
from models.synth.scenes import Scene, render_scene
from shitu import Client
from shitu.cli.demo_report import Answer, Outcome, guesses, outcomes
from shitu.client.errors import JobFailed

SEED = 1  # the scenes of the demo's photos have another
WAIT_S = 60.0

Product = tuple[str, ProductDesign]


@dataclass(frozen=True)
class Correction:
    """What became of the product before and after one box of the first photo was enrolled; the second is another photo."""

    label: str
    before: Outcome
    after: Outcome

    @property
    def faults(self) -> list[str]:
        """Why it did not help. Empty if it did."""
        if self.before.kind == "right":
            return [f"{self.label} was recognised before it was enrolled"]
        return [] if self.after.kind == "right" else [f"{self.label} is {report(self.after)} also after its correction"]


def corrected(
    client: Client, gallery: str, new: Product, known: Sequence[Product], size: tuple[int, int]
) -> Correction:
    """Has `new` photographed twice among `known` products, and corrects the answer about the first photo. Raises ClientError."""
    first, second = _photos([new, *known], size)
    job = succeeded(client.recognitions.wait(client.recognitions.create(first.image, gallery), timeout_s=WAIT_S))
    before = _of(new[0], Answer(first, job, {}))
    box = [round(side) for side in (before.box if before.detection is None else before.detection["box"])]
    client.recognitions.give_feedback(job, "wrong", box=box, label=new[0])
    added = client.galleries.enroll_box(gallery, str(job["id"]), new[0], box=box)
    succeeded(client.enrollments.wait(added, timeout_s=WAIT_S))
    again = succeeded(client.recognitions.wait(client.recognitions.create(second.image, gallery), timeout_s=WAIT_S))
    return Correction(new[0], before, _of(new[0], Answer(second, again, {})))


def succeeded(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """The job. Raises JobFailed if it has no result."""
    if job["result"] is None:
        raise JobFailed(job)
    return job


def report(outcome: Outcome) -> str:
    """What was said of a product, in words."""
    if outcome.kind == "right" and outcome.detection is not None:
        return f"recognised, {outcome.detection['probability']:.2f} sure"
    if outcome.kind == "wrong" and outcome.detection is not None:
        return f"taken for {outcome.detection['label']}"
    guess = next(iter(guesses(outcome.detection)), "") if outcome.detection is not None else ""
    return f"not recognised (best guess: {guess})" if guess else "not recognised"


def _photos(products: Sequence[Product], size: tuple[int, int]) -> list[Scene]:
    rng = np.random.default_rng(SEED)
    scenes: list[Scene] = []
    while len(scenes) < 2:
        scene = render_scene(products, size, rng, count=len(products), scale=(0.35, 0.6), clutter=0.4, occlusion=0.0)
        if len(set(scene.labels)) == len(products):
            scenes.append(scene)
    return scenes


def _of(label: str, answer: Any) -> Outcome:
    return next(one for one in outcomes(answer) if one.label == label)
