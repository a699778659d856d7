"""Recognition of one photo: the pipeline, its decisions and its results; PaddleClas' formats at the border."""
