"""An eval set as a picture: what an embedder found nearest to the queries, right or wrong."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.evaluation.contact_sheets import SHOWN, Near, Query, draw_neighbours, rows_shown
from models.evaluation.eval_sets import EvalSet, sides_of
from models.evaluation.ranking import inner_products, nearest
from models.vectors import unit_rows


def draw_eval_set(split: EvalSet, embeddings: NDArray[np.float32], file: Path) -> None:
    """Write the neighbours of some pictures of the eval set, by its embeddings (N, D), as a PNG; labels are ids."""
    rows, (query_rows, searched, queries, gallery) = unit_rows(embeddings), sides_of(split)
    found, similarities = nearest(inner_products(rows[query_rows], rows[searched]), queries, gallery, SHOWN)
    right = (gallery.labels[found] == queries.labels[:, None]) & np.isfinite(similarities)
    shown = rows_shown(right[:, 0])
    names = {str(label): f"label {label}" for label in split.labels}
    pictures = [
        Query(
            Path(str(query_rows[row])),  # a picture in memory goes by its place
            str(queries.labels[row]),
            tuple(
                Near(Path(str(searched[place])), str(gallery.labels[place]), float(similarity), bool(same))
                for place, similarity, same in zip(found[row], similarities[row], right[row], strict=True)
                if np.isfinite(similarity)
            ),
        )
        for row in shown
    ]
    wrong = sum(1 for row in shown if not right[row, 0])
    title = (
        f"{split.name}: {len(shown)} of {len(query_rows)} pictures, {wrong} of them answered wrongly; similarity below"
    )
    draw_neighbours(pictures, title, file, lambda place: split.images[int(place.name)], names)
