"""Images in, recognitions out: decoding, detection, embedding, search, and their networks.

The serving modules (the files here, `engines`, `pdmodel`, `artifacts`) never import `nets`, `synth`, `training`,
`evaluation` or `export`. PaddlePaddle is needed by `nets`, `training` and `export` alone.
"""
