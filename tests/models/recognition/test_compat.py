"""What `compat` promises, compared with a transcription of PP-ShiTu's rules from their description."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.galleries.gallery import Gallery
from models.options import RecognizeOptions
from models.recognition.pipeline import Recognizer
from tests.models.overlaps import overlap
from tests.models.recognition.colors import COLORS, ColorDetector, ColorEmbedder, Detected, Picture, gallery


def pp_shitu(
    image: Picture, detections: Sequence[Detected], embedder: ColorEmbedder, known: Gallery, rec: float, nms: float
) -> list[tuple[list[int], str, float]]:
    """PP-ShiTu's steps one by one, as they are described: whole image always, top-1, threshold, suppression by score."""
    height, width = image.shape[:2]
    results: list[tuple[list[int], str, float]] = []
    for box in [*(detection.box for detection in detections), (0, 0, width, height)]:
        x1, y1, x2, y2 = (int(side) for side in box)
        (row,) = embedder([image[y1:y2, x1:x2]])
        match = known.search(row[None], 5)[0][0]
        if match.similarity >= rec:
            results.append(([x1, y1, x2, y2], match.item.label, match.similarity))
    results.sort(key=lambda result: -result[2])
    kept: list[tuple[list[int], str, float]] = []
    while results:
        first, *results = results
        kept.append(first)
        results = [result for result in results if overlap(first[0], result[0]) <= nms]
    return kept


@settings(max_examples=100, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_compat_gives_what_pp_shitu_gives(data: st.DataObject, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    for name in data.draw(st.lists(st.sampled_from(sorted(COLORS)), max_size=4)):
        x1, y1 = data.draw(st.integers(0, 40)), data.draw(st.integers(0, 30))
        image[y1 : y1 + data.draw(st.integers(3, 30)), x1 : x1 + data.draw(st.integers(3, 30))] = COLORS[name]
    side = st.floats(0.5, 20, allow_nan=False)
    detections = [
        Detected((x, y, min(x + w + 1, 50), min(y + h + 1, 40)), 0.9 - position / 100)
        for position, (x, y, w, h) in enumerate(data.draw(st.lists(st.tuples(side, side, side, side), max_size=5)))
    ]
    rec, nms = data.draw(st.sampled_from([0.3, 0.7, 0.9])), data.draw(st.sampled_from([0.05, 0.4]))
    known = gallery(*sorted(COLORS))
    options = RecognizeOptions(similarity_threshold=rec, suppression_iou=nms, compat="paddleclas", whole_image="never")
    found = Recognizer(ColorDetector(detections), ColorEmbedder())(image, known, options)
    expected = pp_shitu(image, detections, ColorEmbedder(), known, rec, nms)
    got = [(list(one.box), one.label, one.similarity) for one in found.recognitions]
    assert [result[:2] for result in got] == [result[:2] for result in expected]
    np.testing.assert_allclose([result[2] for result in got], [result[2] for result in expected], rtol=1e-6)
    assert all(len(one.matches) == 1 for one in found.recognitions)
