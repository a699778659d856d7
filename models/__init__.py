"""Images in, recognitions out: decoding, detection, embedding, search, and the networks behind them.

The serving modules never import `models.nets` or `models.training`; those two need PaddlePaddle, serving does not.
"""
