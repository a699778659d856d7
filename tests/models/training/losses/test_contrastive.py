"""Contrastive loss, within a batch and against the memory."""

import numpy as np
import paddle
import pytest

from models.training.losses.contrastive import ContrastiveLoss, CrossBatchMemory, contrastive_loss
from models.training.recipes.metric import Contrastive
from tests.models.training.losses.slow import assert_gradient, dot, unit

Array = np.ndarray


def slow(rows: Array, row_labels: Array, columns: Array, column_labels: Array, margin: float) -> float:
    total = 0.0
    for row, label in zip(rows, row_labels, strict=True):
        for column, other in zip(columns, column_labels, strict=True):
            similarity = dot(row, column)
            if label == other and similarity < 1 - 1e-5:
                total += 1 - similarity
            elif label != other and similarity > margin:
                total += similarity
    return total / len(rows)


def batches(count: int) -> list[tuple[Array, Array]]:
    rng = np.random.default_rng(0)
    return [(unit(rng, 6, 3), rng.integers(0, 3, 6)) for _ in range(count)]


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_a_batch_against_itself_and_against_others(margin: float) -> None:
    (rows, labels), (columns, others) = batches(2)
    tensors = [paddle.to_tensor(array) for array in (rows, labels, columns, others)]
    assert float(contrastive_loss(*tensors, margin)) == pytest.approx(
        slow(rows, labels, columns, others, margin), rel=1e-4
    )
    own = float(contrastive_loss(*tensors[:2], *tensors[:2], margin))
    assert own == pytest.approx(slow(rows, labels, rows, labels, margin), rel=1e-4)
    assert_gradient(lambda x: contrastive_loss(x, *tensors[1:], margin), rows)


def test_the_memory_keeps_the_newest() -> None:
    memory = CrossBatchMemory(10, 3)
    assert [len(part) for part in memory.filled()] == [0, 0]
    seen_rows, seen_labels = np.zeros((0, 3)), np.zeros(0)
    for rows, labels in batches(4):
        memory.add(paddle.to_tensor(rows), paddle.to_tensor(labels))
        seen_rows, seen_labels = np.concatenate([seen_rows, rows]), np.concatenate([seen_labels, labels])
        known_rows, known_labels = (part.numpy() for part in memory.filled())
        assert sorted(map(tuple, known_rows.tolist())) == sorted(map(tuple, seen_rows[-10:].astype("f4").tolist()))
        for row, label in zip(known_rows, known_labels, strict=True):
            place = int(np.flatnonzero((seen_rows.astype("f4") == row).all(axis=1))[0])
            assert seen_labels[place] == label


def test_a_batch_larger_than_the_memory_leaves_its_end() -> None:
    ((rows, labels),) = batches(1)
    memory = CrossBatchMemory(4, 3)
    memory.add(paddle.to_tensor(rows), paddle.to_tensor(labels))
    np.testing.assert_array_equal(memory.filled()[1].numpy(), labels[-4:])
    np.testing.assert_array_equal(memory.filled()[0].numpy(), rows[-4:])


def test_the_memory_counts_from_its_step_on_with_its_weight_and_without_a_gradient() -> None:
    loss = ContrastiveLoss(Contrastive(1.0, 0.2, 20, 0.5, 1), 3, 9)
    remembered: list[tuple[Array, Array]] = []
    for step, (rows, labels) in enumerate(batches(3)):
        x = paddle.to_tensor(3.0 * rows, stop_gradient=False)
        got = loss(x, paddle.to_tensor(labels), step)
        expected = slow(rows, labels, rows, labels, 0.2)
        if step >= 1:
            remembered.append((rows, labels))
            stored = [np.concatenate(parts) for parts in zip(*remembered, strict=True)]
            expected += 0.5 * slow(rows, labels, *stored, 0.2)
        assert float(got) == pytest.approx(expected, rel=1e-4)
        got.backward()
        assert loss.memory is not None
        assert loss.memory.embeddings.grad is None


def test_the_memory_is_in_the_state() -> None:
    one, two = (ContrastiveLoss(Contrastive(1.0, memory_size=8, memory_from=0), 3, 9) for _ in range(2))
    for step, (rows, labels) in enumerate(batches(2)):
        one(paddle.to_tensor(rows), paddle.to_tensor(labels), step)
    two.set_state_dict({name: paddle.to_tensor(value.numpy()) for name, value in one.state_dict().items()})
    ((rows, labels),) = batches(1)
    answers = [float(loss(paddle.to_tensor(rows), paddle.to_tensor(labels), 2)) for loss in (one, two)]
    assert answers[0] == answers[1]
    assert one.memory is not None
    assert two.memory is not None
    np.testing.assert_array_equal(one.memory.labels.numpy(), two.memory.labels.numpy())
