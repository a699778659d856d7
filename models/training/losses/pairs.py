"""Which pairs of a batch are of one class, and how alike they are."""

import paddle


def same_class(rows: paddle.Tensor, columns: paddle.Tensor, dtype: str = "float32") -> paddle.Tensor:
    """(B,) and (M,) labels -> (B, M), 1 where a row's label is the column's, else 0."""
    return (rows.unsqueeze(1) == columns.unsqueeze(0)).astype(dtype)


def cosines(rows: paddle.Tensor, columns: paddle.Tensor) -> paddle.Tensor:
    """(B, D) and (M, D) unit rows -> (B, M)."""
    return paddle.matmul(rows, columns, transpose_y=True)


def squared_distances(rows: paddle.Tensor, columns: paddle.Tensor) -> paddle.Tensor:
    """(B, D) and (M, D) -> (B, M), never below 1e-12: a root of them has a gradient everywhere."""
    own = (rows * rows).sum(axis=1).unsqueeze(1) + (columns * columns).sum(axis=1).unsqueeze(0)
    return paddle.clip(own - 2.0 * paddle.matmul(rows, columns, transpose_y=True), min=1e-12)
