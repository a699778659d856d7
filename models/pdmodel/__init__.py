"""PaddlePaddle's own files, read and cut without PaddlePaddle."""
