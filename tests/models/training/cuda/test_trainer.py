"""Views made on the card, which pictures a batch has, and a step of the trainer; on the CPU, where PyTorch is installed."""

import importlib.util
from typing import Any

import numpy as np
import pytest

from models.training.cuda.packed import VALIDATION, Pictures

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch, an optional aid of training, is not installed"
)
SIDE = 32


def bank() -> Any:
    """Four classes of three opaque pictures each, one of which is a query, and a product that stands free."""
    import torch

    from models.training.cuda.bank import Bank

    pixels = np.random.default_rng(0).integers(0, 255, (13, 4, SIDE, SIDE), dtype=np.uint8)
    pixels[:12, 3], pixels[12, 3], pixels[12, 3, 8:24, 8:24] = 255, 0, 255
    labels = (*(f"grocery/{number // 3}" for number in range(12)), "grocery packshots/9")
    sources = (*["grocery"] * 12, "grocery packshots")
    parts = tuple(VALIDATION if number in (2, 5) else "training" for number in range(13))
    return Bank(Pictures(pixels, labels, sources, parts), 0, 0, torch.device("cpu"))


def test_what_is_queried_is_never_sampled() -> None:
    import torch

    made = bank()
    even, weighted = made.probabilities({"grocery": 1.0}, 0.0), made.probabilities({"grocery": 1.0}, 1.0)
    assert even[[2, 5]].tolist() == weighted[[2, 5]].tolist() == [0.0, 0.0]
    assert even.sum().item() == pytest.approx(1.0)
    assert weighted[[0, 1]].sum().item() == pytest.approx(weighted[[6, 7, 8]].sum().item())  # classes alike
    classes = made.labels[torch.tensor([0, 3, 6])]
    for _ in range(20):
        mates = made.mates(classes)
        assert torch.equal(made.labels[mates], classes)
        assert not made.validation[mates.numpy()].any()


def test_views_differ_and_show_a_background_behind_what_stands_free() -> None:
    import torch

    from models.training.cuda.views import normalised, plain, views

    made = bank()
    torch.manual_seed(0)
    seen = views(made.pixels, torch.tensor([0, 0, 12, 12]), made.photos, 24)
    assert seen.shape == (4, 3, 24, 24)
    assert 0.0 <= float(seen.min()) < float(seen.max()) <= 1.0
    assert float((seen[0] - seen[1]).abs().mean()) > 0.02
    assert float((seen[2] - seen[3]).abs().mean()) > 0.02
    grey = plain(made.pixels, torch.tensor([12]), SIDE)
    assert float(grey[0, :, 0, 0].mean()) == pytest.approx(235 / 255)
    assert abs(float(normalised(torch.full((1, 3, 4, 4), 0.45)).mean())) < 0.1


def test_a_step_draws_the_student_to_its_teacher() -> None:
    import torch

    from models.training.cuda.networks import DIMENSIONS, EmbedderLCNet
    from models.training.cuda.trainer import Goal, Student, Trainer, unit

    torch.manual_seed(0)
    made = bank()

    class OnePlace:
        def __call__(self, x: Any) -> tuple[Any, Any, Any]:
            row = unit(torch.ones(1, DIMENSIONS)).expand(len(x), -1)
            return row, row, row[:, :, None, None]

    goal = Goal("student", 1.0, 8, 3e-3, ((1.0, SIDE, SIDE),), 0.1, 1.0, 1.0, 1.0, 0.25, 0.25, warmup=1)
    plan = {"sources": {"grocery": {"sampling_weight": 1.0}}}
    student = Student(EmbedderLCNet(), len(made.names))
    trainer = Trainer(goal, student, made, OnePlace(), plan)
    trainer.neighbours = trainer._neighbours(2)
    first = trainer.step(0, 0.0)
    assert set(first) == {"distill", "relation", "places", "class"}
    for step in range(1, 5):
        last = trainer.step(step, 0.1)
    assert float(last["places"]) < float(first["places"])
    assert set(trainer.evaluate()) == {"grocery_val", "packshot_val"}
    assert not trainer.network.training
