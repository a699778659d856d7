"""Losses of metric learning, one idea a file. Embeddings (B, D), labels (B,) int64; every loss is a mean over the batch.

`cross_entropy` takes a head's logits; `triplets`, `supcon`, `contrastive`, `cosface` and `center` take embeddings;
`weighted` sums what a recipe names. `embedder`, `distillation` and `hashing` have what only their trainers sum.
The three names below are imported here because the embedder's trainer knew this package when it was one file.
"""

from models.training.losses.embedder import cos_margin_loss, cosine_distance_loss, relation_loss
from models.training.losses.triplets import triplet_angular_margin_loss

__all__ = ["cos_margin_loss", "cosine_distance_loss", "relation_loss", "triplet_angular_margin_loss"]
