"""Losses, one idea a file. Embeddings (B, D), labels (B,) int64; every loss is a mean over the batch.

`heads` and `cross_entropy` are for classes; `triplets`, `supcon`, `contrastive`, `cosface` and `center` compare pictures;
`weighted` sums what a metric recipe names. `distillation` and `detector_distillation` draw a student to a teacher;
`detection` and `hashing` are for detectors and binary codes.
"""
