"""Distillation of the small embedder on one GPU, in PyTorch, where hours on CPUs are minutes.

`pack` (here, with the project's packages) writes a recipe's photos into few files; `distil` (on the machine with the GPU,
where only PyTorch, numpy, OpenCV and Pillow are) trains on them; `checkpoint` turns what it saved into a run's `best.npz`,
which `shitu export` takes. Nothing here imports PaddlePaddle but `pack` and `checkpoint`.
"""
