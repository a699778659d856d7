"""Data-parallel training over processes: gradients averaged over Gloo, each process with its share of the batch.

Start them with `python -m paddle.distributed.launch --backend gloo --nproc_per_node N`; alone, it is a group of one.
"""

import os
import time
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import nn
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

        Gloo's own barrier gives up after 30 seconds, in which one process may still be drawing pictures or examining.
        """
        if self.size == 1:
            return
        store = core.create_or_get_global_tcp_store()
        store.add(place, 1)
        while store.add(place, 0) < self.size:
            time.sleep(0.05)

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
