"""The networks, one a file, each readable next to its paper.

Parameters bear the names and shapes of the official weights, so official `.pdparams` files load without a mapping
(`models.nets.pdparams`). `lcnet` is PP-LCNet, `lcnetv2` is PP-LCNetV2 with re-parameterised depthwise branches,
`stop_layer` ends them at a layer, `embedding` puts the ShiTu `necks` on them, `picodet` is the main-body detector, on PP-LCNet or `esnet`.
"""
