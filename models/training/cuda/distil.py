"""Trains by distillation on one GPU, for a given time: `python -m models.training.cuda.distil FOLDER OUT --seconds 480`.

FOLDER is what `pack` wrote. Every view is made on the card and is seen by the student, at its size, and by the teachers, at
theirs. The student learns the first teacher's embedding, its embedding of each place of the picture, how alike all teachers
find two views, and classes. Some views are two pictures faded into each other: with teachers that see the very same, a
small data set goes further (Beyer et al., "Knowledge distillation: A good teacher is patient and consistent",
arXiv:2106.05237). The learning rate follows the clock, so that a run ends well whatever the card's speed is.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.training.cuda.bank import Bank, unit
from models.training.cuda.networks import EmbedderLCNet, EmbedderLite, to_arrays
from models.training.cuda.packed import read
from models.training.cuda.trainer import Goal, Student, Teachers, Trainer
from models.training.cuda.views import normalised, plain, views

BANK_PX = 224
PART_BYTES = 15_000_000  # of a saved file


def save_parts(trainer: Trainer, out: Path, step: int, metrics: dict[str, float]) -> None:
    """The served network in files of at most PART_BYTES, each whole or not there; `checkpoint` puts them together."""
    parts: list[dict[str, Any]] = [{}]
    size = 0
    for name, array in to_arrays(trainer.network).items():
        size += array.nbytes
        if size > PART_BYTES:
            parts.append({})
            size = array.nbytes
        parts[-1][name] = array
    progress = np.frombuffer(json.dumps({"step": step, "eval": metrics}).encode(), np.uint8)
    for number, part in enumerate(parts):
        temporary = out / f"{trainer.goal.name}-{number}.partial"
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, progress=progress, **part)
        temporary.replace(out / f"{trainer.goal.name}-{number}.npz")
    print(f"{trainer.goal.name} {step} saved {metrics}", flush=True)


def bench(trainer: Trainer, steps: int) -> None:
    """Prints what a step costs at each size, by its parts."""

    def timed(work: Callable[[], object]) -> float:
        work()
        work()
        if trainer.device.type == "cuda":
            torch.cuda.synchronize()
        began = time.monotonic()
        for _ in range(steps):
            work()
        if trainer.device.type == "cuda":
            torch.cuda.synchronize()
        return 1000 * (time.monotonic() - began) / steps

    def draw() -> Tensor:
        return views(trainer.bank.pixels, trainer._indices(), trainer.bank.photos, seen)

    for until, size, seen in trainer.goal.sizes_px:
        given, at = normalised(draw()), until - 1e-6
        whole = timed(partial(trainer.step, 1000, at))
        print(
            f"{trainer.goal.name} batch {trainer.goal.batch} at {size} and {seen} px: step {whole:.1f} ms, "
            f"views {timed(draw):.1f}, teachers {timed(partial(trainer.teachers, given)):.1f}",
            flush=True,
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=480.0)
    parser.add_argument("--finetune", type=float, default=0.0, help="seconds for the first teacher itself, afterwards")
    parser.add_argument("--batch", type=int, default=384)
    parser.add_argument("--products", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=14)
    parser.add_argument("--rate", type=float, default=2.5e-3)
    parser.add_argument("--bench", type=int, default=0, help="only time this many steps")
    parser.add_argument("--sizes", default="0.4,112,160;1,160,224")
    given = parser.parse_args()
    began = time.monotonic()
    plan = json.loads((given.folder / "plan.json").read_text(encoding="utf-8"))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(plan["seed"])
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.benchmark_limit = 4  # with all, the first step takes half a minute
    torch.set_float32_matmul_precision("high")
    given.out.mkdir(parents=True, exist_ok=True)
    files = sorted(given.folder.glob("photos-*.npz"))
    bank = Bank(read(files, BANK_PX, given.processes), given.products, 4, device)
    print(
        f"{len(bank.labels)} pictures of {len(bank.names)} classes after {time.monotonic() - began:.1f} s", flush=True
    )
    teachers = Teachers(given.folder, plan, device)
    table = plan["loss"]
    sizes = tuple((float(a), int(b), int(c)) for a, b, c in (one.split(",") for one in given.sizes.split(";")))
    goal = Goal(
        "student",
        given.seconds,
        given.batch,
        given.rate,
        sizes,
        table["class_weight"],
        table["distill_weight"],
        table["teacher_relation_weight"],
        places=5.0,
        mixed=0.25,
        hard=0.0,
        margin=table["margin"],
        scale=table["scale"],
        smoothing=table["smoothing"],
    )
    student = Student(EmbedderLCNet(), len(bank.names)).to(device, memory_format=torch.channels_last)
    trainer = Trainer(goal, student, bank, teachers, plan)
    if given.bench:
        bench(trainer, given.bench)
    else:
        trainer.train(lambda one, step, metrics: save_parts(one, given.out, step, metrics))
    if given.finetune:
        finetune(given.finetune, min(given.batch, 256), bank, teachers, plan, given.out, given.bench)


def finetune(
    seconds: float, batch: int, bank: Bank, teachers: Teachers, plan: dict[str, Any], out: Path, times: int
) -> None:
    """Resumes with the first teacher, by classes with look-alikes in the batch, held to what the teachers find alike."""
    goal = Goal(
        "finetuned",
        seconds,
        batch,
        1e-3,
        ((1.0, 224, 224),),
        class_weight=1.0,
        distill=1.0,
        relation=4.0,
        places=0.0,
        mixed=0.0,
        hard=0.4,
        relative=True,
        decay=0.0,
        warmup=50,
        average=0.995,
        margin=0.2,
    )
    network = EmbedderLite("lite0").to(bank.pixels.device, memory_format=torch.channels_last)
    network.load_state_dict({name: tensor.float() for name, tensor in teachers.networks[0].state_dict().items()})
    student = Student(network, len(bank.names)).to(bank.pixels.device)
    student.local.requires_grad_(False)
    trainer = Trainer(goal, student, bank, teachers, plan)
    with torch.no_grad():
        sums = torch.zeros_like(student.proxies)
        for some in torch.arange(len(bank.labels), device=bank.pixels.device).split(256):
            sums.index_add_(0, bank.labels[some], teachers(normalised(plain(bank.pixels, some, 224)))[0])
        student.proxies.copy_(unit(sums))
    if times:
        bench(trainer, times)
        return
    trainer.network = trainer.served()
    print(f"before {trainer.evaluate()}", flush=True)
    trainer.train(lambda one, step, metrics: save_parts(one, out, step, metrics))


if __name__ == "__main__":
    main()
