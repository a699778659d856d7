"""Images in, recognitions out: decoding, detection, embedding, search, and their networks.

The serving modules (the files here, `recognition`, `galleries`, `pictures`, `artifacts`, `engines`,
`pdmodel`) never import `nets`, `synth`, `training`, `evaluation` or `export`. PaddlePaddle is needed by `nets`, `training` and `export` alone.
"""
