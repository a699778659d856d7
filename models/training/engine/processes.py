"""Data-parallel training over processes, each with its part of the batch: N of them take the step that one would take.

Start them with `python -m paddle.distributed.launch --backend gloo --nproc_per_node N` (nccl on GPUs); alone, it is a
group of one. A trainer takes its slice of the batch, lets `synchronise_norms` share the batch statistics, gathers
embeddings for losses over pairs of the whole batch, and averages the gradients.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.autograd import PyLayer
from paddle.base import core


@dataclass(frozen=True)
class Group:
    """This process's place among the processes of the run."""

    rank: int
    size: int

    @classmethod
    def from_environment(cls) -> "Group":
        """Join the group that the launcher describes."""
        size = int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))
        if size > 1:
            import paddle.distributed as dist

            dist.init_parallel_env()
        return cls(int(os.environ.get("PADDLE_TRAINER_ID", "0")), size)

    def wait(self, place: str) -> None:
        """Return when every process of the group is at `place`, a name used once; however long that takes.

        Gloo's own barrier gives up after 30 seconds, in which one process may still be rendering pictures or evaluating.
        """
        if self.size == 1:
            return
        store = core.create_or_get_global_tcp_store()
        store.add(place, 1)
        while store.add(place, 0) < self.size:
            time.sleep(0.05)

    def slice_of(self, count: int) -> slice:
        """This process's part of `count` things; what does not divide by the group's size is left out at the end."""
        part = count // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def gather(self, part: paddle.Tensor) -> paddle.Tensor:
        """The parts of all processes, by rank one below the other: (n, ...) -> (size * n, ...), alike in every process.

        A loss over all of it has, averaged over the group, the gradient that one process with the whole batch has.
        """
        if self.size == 1:
            return part
        if part.stop_gradient:
            return paddle.concat(self.all_gather(part))
        return _Gather.apply(part, self)

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean over the group of each named value; every process names the same ones."""
        if self.size == 1:
            return dict(values)
        gathered = self.all_gather(paddle.to_tensor(list(values.values()), dtype="float32"))
        return dict(zip(values, np.mean([part.numpy() for part in gathered], axis=0).tolist(), strict=True))

    @paddle.no_grad()
    def all_gather(self, part: paddle.Tensor) -> list[paddle.Tensor]:
        """The tensor of each process, by rank; all of one shape. For small ones: each is sent on its own.

        Gloo's collectives of several steps take milliseconds even for a few values, a broadcast a tenth of that.
        """
        import paddle.distributed as dist

        parts = [
            part.detach().contiguous() if rank == self.rank else paddle.empty_like(part) for rank in range(self.size)
        ]
        for rank, tensor in enumerate(parts):
            dist.broadcast(tensor, rank)
        return parts

    def average_gradients(self, network: nn.Layer) -> None:
        """Replace every gradient by its mean over the group, in one message."""
        if self.size == 1:
            return
        import paddle.distributed as dist

        parameters = [p for p in network.parameters() if not p.stop_gradient]
        missing = [p for p in parameters if p.grad is None]
        for parameter in missing:
            parameter.grad = paddle.zeros_like(parameter)
        flat = paddle.concat([p.grad.flatten() for p in parameters])
        dist.all_reduce(flat)
        flat = flat / self.size
        offsets = np.cumsum([0] + [p.size for p in parameters])
        for parameter, start, end in zip(parameters, offsets[:-1], offsets[1:], strict=True):
            parameter.grad.set_value(flat[int(start) : int(end)].reshape(parameter.shape))


ALONE = Group(0, 1)


class _Gather(PyLayer):
    """Parts to the whole; back, the sum of what every process's loss asks of this process's part."""

    @staticmethod
    def forward(ctx: Any, part: Any, group: Group) -> Any:
        ctx.group = group
        return paddle.concat(group.all_gather(part))

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        group = ctx.group
        return sum(each[group.slice_of(len(each))] for each in group.all_gather(gradient))
