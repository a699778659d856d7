"""Searchable galleries: float embeddings or binary codes, labels' scores, calibrated probabilities."""
