"""Eval sets, and what is measured on them. Needs no PaddlePaddle."""
