"""Contrastive loss within a batch, and against a memory of past batches: cross-batch memory, XBM.

Wang et al., "Cross-Batch Memory for Embedding Learning", arXiv:1912.06798: embeddings drift slowly once training has
settled, so those of the last thousands of pictures serve as negatives and positives at the price of a matrix product.
"""

import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
from paddle import nn

from models.training.losses.pairs import cosines, same_class
from models.training.recipes.metric import Contrastive

ITSELF = 1e-5  # a pair more alike than 1 minus this is a picture and itself


def contrastive_loss(
    rows: paddle.Tensor,
    row_labels: paddle.Tensor,
    columns: paddle.Tensor,
    column_labels: paddle.Tensor,
    margin: float = 0.5,
) -> paddle.Tensor:
    """Each row's sum of 1 - s over its positives and of s over its negatives beyond `margin`, s cosines; their mean.

    Unit rows (B, D) and columns (M, D); a batch against itself, or against a memory.
    """
    similarity = cosines(rows, columns)  # (B, M)
    same = same_class(row_labels, column_labels)
    positive = same * (similarity < 1.0 - ITSELF).astype(rows.dtype)
    negative = (1.0 - same) * (similarity > margin).astype(rows.dtype)
    return ((1.0 - similarity) * positive + similarity * negative).sum() / len(row_labels)


class CrossBatchMemory(nn.Layer):
    """The last `size` embeddings and their labels, oldest replaced first. Buffers, so a checkpoint holds them."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("embeddings", paddle.zeros([size, dim]))
        self.register_buffer("labels", paddle.full([size], -1, "int64"))
        self.register_buffer("taken", paddle.zeros([], "int64"))  # in, over the whole run

    @paddle.no_grad()
    def add(self, embeddings: paddle.Tensor, labels: paddle.Tensor) -> None:
        """Take a batch in. Of one larger than the memory, its end."""
        embeddings, labels = embeddings.detach()[-self.size :], labels[-self.size :]
        taken = int(self.taken)
        places = (paddle.arange(len(labels)) + taken) % self.size
        self.embeddings.set_value(paddle.scatter(self.embeddings, places, embeddings))
        self.labels.set_value(paddle.scatter(self.labels, places, labels))
        self.taken.set_value(self.taken + len(labels))

    def filled(self) -> tuple[paddle.Tensor, paddle.Tensor]:
        """The embeddings (M, D) and labels (M,) that are in."""
        count = min(int(self.taken), self.size)
        return self.embeddings[:count], self.labels[:count]


class ContrastiveLoss(nn.Layer):
    """The batch against itself; with a `memory_size`, from step `memory_from` on also against the memory.

    A batch is taken in before it is compared, as PaddleClas does: its own pairs count in the memory's part too.
    """

    def __init__(self, table: Contrastive, dim: int, classes: int) -> None:
        super().__init__()
        self.table = table
        self.memory = CrossBatchMemory(table.memory_size, dim) if table.memory_size else None

    def forward(self, embeddings: paddle.Tensor, labels: paddle.Tensor, step: int) -> paddle.Tensor:
        rows = F.normalize(embeddings, axis=1)
        loss = contrastive_loss(rows, labels, rows, labels, self.table.margin)
        if self.memory is None or step < self.table.memory_from:
            return loss
        self.memory.add(rows, labels)
        return loss + self.table.memory_weight * contrastive_loss(
            rows, labels, *self.memory.filled(), self.table.margin
        )
