"""Frozen networks that others learn from. Need no PaddlePaddle."""
