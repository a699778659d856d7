"""One student, its teachers and its steps: see `models.training.cuda.distil`."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
from torch import Tensor, nn

from models.training.cuda.bank import Bank, recall_at_1, unit
from models.training.cuda.networks import DIMENSIONS, EmbedderLCNet, EmbedderLite, load_arrays
from models.training.cuda.views import normalised, plain, resized, views

EVERY = 50  # steps between two lines of the log
Sees = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]  # as Teachers answer


@dataclass(frozen=True)
class Goal:
    """What is trained, and how."""

    name: str
    seconds: float
    batch: int
    rate: float
    sizes_px: tuple[tuple[float, int, int], ...]  # up to which fraction of the time; the student's; the teachers'
    class_weight: float
    distill: float
    relation: float
    places: float
    mixed: float  # fraction of views that are two pictures
    hard: float  # fraction of classes that are look-alikes of others in the batch
    relative: bool = False  # learning rates follow each parameter's own scale: for folded weights
    decay: float = 0.05
    warmup: int = 200
    average: float = 0.998
    margin: float = 0.15
    scale: float = 20.0
    smoothing: float = 0.05


class Student(nn.Module):
    """The network with what only training needs: the head of each place, and a proxy a class."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network = network
        self.local = nn.Conv2d(1024 if isinstance(network, EmbedderLCNet) else 1280, DIMENSIONS, 1)
        self.proxies = nn.Parameter(0.05 * torch.randn(classes, DIMENSIONS))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.network.backbone(x)
        return self.network.pool(maps), self.local(maps)


class Teachers:
    """Frozen, in 16 bits on a card. The first one's embeddings are targets."""

    def __init__(self, folder: Path, plan: dict[str, Any], device: torch.device) -> None:
        self.dtype = torch.float16 if device.type == "cuda" else torch.float32
        self.networks = []
        for kind in plan["teachers"]:
            network = EmbedderLite(kind)
            load_arrays(network, load_npz(folder / f"{kind}.npz"))
            network.eval().requires_grad_(False)
            self.networks.append(network.to(device, self.dtype, memory_format=torch.channels_last))
        total = sum(plan["weights"])
        self._fractions = [math.sqrt(weight / total) for weight in plan["weights"]]

    @torch.no_grad()
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit targets (B, D), unit rows of all (B, R), and the first one's embedding of each place (B, D, h, w)."""
        x = x.to(self.dtype)
        rows, places = [], None
        for network in self.networks:
            maps = network.backbone(x)
            places = network.places(maps) if places is None else places
            rows.append(unit(network.pool(maps)))
        together = torch.cat([weight * some for weight, some in zip(self._fractions, rows, strict=True)], 1)
        return rows[0], together, places


class Trainer:
    """One goal over one bank."""

    def __init__(self, goal: Goal, student: Student, bank: Bank, teachers: Sees, plan: dict[str, Any]) -> None:
        self.goal, self.student, self.bank, self.teachers = goal, student, bank, teachers
        self.weights = {name: table["sampling_weight"] for name, table in plan["sources"].items()}
        self.device = bank.pixels.device
        self.rates: list[float] = []
        groups = []
        for name, parameter in student.named_parameters():
            if parameter.requires_grad:
                scale = float(parameter.detach().square().mean().sqrt()) if goal.relative else 1.0
                learns = (
                    10.0 if name == "proxies" and goal.relative else scale if parameter.ndim > 1 else min(scale, 0.1)
                )
                decay = goal.decay if parameter.ndim > 1 else 0.0
                groups.append({"params": [parameter], "weight_decay": decay})
                self.rates.append(learns if goal.relative else 1.0)
        self.optimizer = torch.optim.AdamW(groups, lr=goal.rate, betas=(0.9, 0.99), fused=self.device.type == "cuda")
        self.averaged = {name: tensor.detach().clone() for name, tensor in student.network.named_parameters()}
        self.probabilities = bank.probabilities(self.weights, 0.0)
        self.neighbours: Tensor | None = None

    def train(self, save: Callable[["Trainer", int, dict[str, float]], None]) -> None:
        """Steps until the time is over, saving every minute."""
        goal, began, saved = self.goal, time.monotonic(), time.monotonic()
        step, clock = 0, time.monotonic()
        sums: dict[str, Any] = {}
        while (fraction := (time.monotonic() - began) / goal.seconds) < 1.0:
            if step % EVERY == 0:
                self.bank.poll()
                self.probabilities = self.bank.probabilities(
                    self.weights, 1.0 if goal.relative else min(1.0, 1.6 * fraction)
                )
                if goal.hard:
                    self.neighbours = self._neighbours()
            parts = self.step(step, fraction)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value
            step += 1
            if step % EVERY == 0:
                means = {name: round(float(total) / EVERY, 4) for name, total in sums.items()}
                now = time.monotonic()
                print(
                    f"{goal.name} {step} {now - began:.0f} s {EVERY * goal.batch / (now - clock):.0f}/s {means}",
                    flush=True,
                )
                if not math.isfinite(sum(means.values())):
                    raise FloatingPointError(f"a loss is NaN or infinite at step {step}")
                sums, clock = {}, now
                if now - saved > 60.0 and goal.seconds - (now - began) > 30.0:
                    save(self, step, self.evaluate())
                    saved = clock = time.monotonic()
        save(self, step, self.evaluate())

    def step(self, step: int, fraction: float) -> dict[str, Tensor]:
        """One step at `fraction` of the time; the losses."""
        goal = self.goal
        size, seen = next((size, seen) for until, size, seen in goal.sizes_px if fraction < until or until == 1.0)
        factor = min(1.0, (step + 1) / goal.warmup) * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * fraction)))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = goal.rate * factor * rate
        indices = self._indices()
        labels = self.bank.labels[indices]
        images = views(self.bank.pixels, indices, self.bank.photos, seen)
        pure = len(images)
        if goal.mixed and fraction < 0.8:
            pure = int((1.0 - goal.mixed) * len(images))
            fade = torch.rand(len(images) - pure, 1, 1, 1, device=self.device) * 0.7 + 0.15
            other = torch.randperm(len(images), device=self.device)[: len(images) - pure]
            images[pure:] = fade * images[pure:] + (1.0 - fade) * images[other]
        targets, together, places = self.teachers(normalised(images))
        x = normalised(resized(images, size))
        self.student.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            rows, local = self.student(x)
        parts = self._losses(rows, local, targets, together, places, labels, pure, fraction)
        self.optimizer.zero_grad(set_to_none=True)
        sum(parts.values()).backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self.optimizer.step()
        keep = min(goal.average, (1 + step) / (10 + step))
        with torch.no_grad():
            own = [parameter for _, parameter in self.student.network.named_parameters()]
            torch._foreach_lerp_(list(self.averaged.values()), own, 1.0 - keep)
        return {name: loss.detach() for name, loss in parts.items()}

    def _losses(
        self,
        rows: Tensor,
        local: Tensor,
        targets: Tensor,
        together: Tensor,
        places: Tensor,
        labels: Tensor,
        pure: int,
        fraction: float,
    ) -> dict[str, Tensor]:
        goal, rows = self.goal, unit(rows)
        parts = {}
        if goal.distill:
            parts["distill"] = goal.distill * (1.0 - (rows * targets).sum(1)).mean()
        if goal.relation:
            others = 1.0 - torch.eye(len(rows), device=rows.device)
            gap = ((rows @ rows.T - together @ together.T) ** 2 * others).sum() / others.sum()
            parts["relation"] = goal.relation * gap
        if goal.places:
            side = min(local.shape[-1], places.shape[-1])
            own, theirs = (F.adaptive_avg_pool2d(some.float(), side) for some in (local, places))
            parts["places"] = goal.places * (1.0 - F.cosine_similarity(own, theirs, dim=1)).mean()
        if goal.class_weight:
            cosines = rows[:pure] @ unit(self.student.proxies).T
            own_class = F.one_hot(labels[:pure], cosines.shape[1])
            logits = goal.scale * (cosines - goal.margin * own_class)
            ramp = 1.0 if goal.relative else min(1.0, 0.1 + 1.8 * fraction)
            loss = F.cross_entropy(logits, labels[:pure], label_smoothing=goal.smoothing)
            parts["class"] = ramp * goal.class_weight * loss
        return parts

    def _indices(self) -> Tensor:
        """Two pictures of each class sampled; look-alikes in place of some."""
        first = torch.multinomial(self.probabilities, self.goal.batch // 2, replacement=True)
        if self.neighbours is not None:
            several = int(self.goal.hard * len(first))
            near = self.neighbours[self.bank.labels[first[:several]]]
            chosen = near[torch.arange(several), torch.randint(near.shape[1], (several,), device=self.device)]
            first[len(first) - several :] = self.bank.mates(chosen)
        return torch.cat([first, self.bank.mates(self.bank.labels[first])])

    def _neighbours(self, count: int = 5) -> Tensor:
        """The classes of the same source that are most alike to each by their proxies (C, count)."""
        rows = unit(self.student.proxies.detach())
        owner = np.unique([name.split("/")[0] for name in self.bank.names], return_inverse=True)[1]
        own = torch.from_numpy(owner).to(self.device)
        missing = torch.zeros(len(rows), dtype=torch.bool, device=self.device)
        rendered = torch.from_numpy(self.bank.rendered).to(self.device)
        missing[self.bank.labels[~rendered]] = True
        missing |= self.bank.counts == 0
        alike = rows @ rows.T - 9.0 * (own[:, None] != own[None]).float() - 9.0 * missing.float()[None]
        alike.fill_diagonal_(-8.0)
        return alike.topk(count, 1).indices

    def served(self) -> nn.Module:
        """A copy with the averaged weights, and batch statistics of many views with these weights held still."""
        network = EmbedderLCNet() if isinstance(self.student.network, EmbedderLCNet) else EmbedderLite("lite0")
        network.load_state_dict(self.student.network.state_dict())
        network.to(self.device, memory_format=torch.channels_last)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(self.averaged[name])
            norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
            if norms:
                size, seen = self.goal.sizes_px[-1][1:]
                for norm in norms:
                    norm.reset_running_stats()
                    norm.momentum = None  # the mean of all batches
                network.train()
                for _ in range(12):
                    images = views(self.bank.pixels, self._indices(), self.bank.photos, seen)
                    network(normalised(resized(images, size)))
        return network.eval()

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """recall@1 of photos kept apart, against training photos and against one packshot a class."""
        self.network = self.served()
        size = self.goal.sizes_px[-1][1]

        def embed(indices: Tensor) -> tuple[Tensor, Tensor]:
            rows = [unit(self.network(normalised(plain(self.bank.pixels, some, size)))) for some in indices.split(256)]
            return torch.cat(rows), self.bank.labels[indices]

        metrics = {}
        query_rows = self.bank.where("grocery", validation=True)
        if len(query_rows):
            queries = embed(query_rows)
            for name, source in (("grocery_val", "grocery"), ("packshot_val", "grocery packshots")):
                searched = self.bank.where(source, validation=False)
                if len(searched):
                    metrics[name] = recall_at_1(*embed(searched), *queries)
        return metrics


def load_npz(path: Path) -> dict[str, Any]:
    """All arrays of a file."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
