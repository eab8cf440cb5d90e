"""Overlapping tiles share every pixel out among them, without a step."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsp_pipeline.core.tiling import Span, plan_fading_spans
from nsp_pipeline.errors import UsageError


@given(st.integers(1, 120), st.integers(1, 300), st.integers(1, 60), st.sampled_from([1, 2, 32]))
def test_weights_add_up_to_one_on_tiles_of_one_length(units: int, tile: int, overlap: int, multiple: int) -> None:
    size = units * multiple
    spans = plan_fading_spans(size, tile, overlap, multiple)
    total = np.zeros(size)
    for span in spans:
        total[span.start : span.stop] += span.weights

    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert {span.stop - span.start for span in spans} == {spans[0].stop}
    assert spans[-1].stop == size
    assert all(span.start % multiple == 0 for span in spans)
    assert all(after.start + overlap <= before.stop for before, after in pairwise(spans))


def test_weights_fade_slowly_and_not_at_the_border() -> None:
    first, second, third = plan_fading_spans(640, 256, 64, 32)

    assert (second.start, third.start) == (192, 384)
    assert first.weights[0] == 1
    assert third.weights[-1] == 1
    assert second.weights[0] < 0.001
    for span in (first, second, third):
        assert np.abs(np.diff(span.weights)).max() < np.pi / 2 / 64
    assert second.whole == Span(192, 448, 192, 448)


def test_a_side_no_longer_than_a_tile_is_one_tile() -> None:
    (span,) = plan_fading_spans(192, 256, 64, 64)

    assert (span.start, span.stop) == (0, 192)
    assert (span.weights == 1).all()


def test_a_side_off_the_grid_is_refused() -> None:
    with pytest.raises(UsageError, match="size 7"):
        plan_fading_spans(7, 4, 2, 2)
