"""Imports Paddle once, apart from the warning that it gives where no compiler cache is installed."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import paddle

paddle.set_device("cpu")
