"""Tiles cover an image exactly once, with their halo, on the grid of PD."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsp_pipeline.core.tiling import plan_spans, plan_tiles
from nsp_pipeline.errors import UsageError


@given(st.integers(1, 400), st.integers(1, 120), st.integers(0, 70), st.integers(1, 4))
def test_kept_parts_cover_a_side_once_and_reads_hold_the_halo(units: int, tile: int, halo: int, multiple: int) -> None:
    size = units * multiple
    spans = plan_spans(size, tile, halo, multiple)

    assert [place for span in spans for place in range(span.keep_start, span.keep_stop)] == list(range(size))
    most = -(-tile // multiple) * multiple + 2 * -(-halo // multiple) * multiple
    for span in spans:
        assert span.start <= max(0, span.keep_start - halo)
        assert span.stop >= min(size, span.keep_stop + halo)
        assert span.keep_start < span.keep_stop
        assert 0 <= span.start < span.stop <= size
        assert span.start % multiple == span.stop % multiple == span.keep_start % multiple == 0
    assert len({span.stop - span.start for span in spans}) == 1, "an engine meets one shape"
    assert spans[0].stop - spans[0].start <= most


def test_photos_of_nearly_one_size_share_a_shape() -> None:
    lengths = {plan_spans(size, 1024, 58, 2)[0].stop for size in range(5000, 7000, 2)}

    assert lengths <= {896, 960, 1024, 1088, 1140}


def test_no_tile_is_read_for_a_sliver() -> None:
    assert [(span.start, span.stop) for span in plan_spans(640, 512, 64, 2)] == [(0, 640)]
    assert [(span.start, span.stop) for span in plan_spans(700, 512, 64, 2)] == [(0, 448), (252, 700)]


def test_tiles_are_the_product_of_their_sides() -> None:
    tiles = list(plan_tiles(100, 60, tile=50, halo=8, multiple=2))

    assert len(tiles) == 2
    assert (tiles[1].rows.start, tiles[1].rows.stop) == (36, 100)
    assert tiles[1].rows.inner == slice(20, 64)


def test_a_side_off_the_grid_is_refused() -> None:
    with pytest.raises(UsageError, match="size 7"):
        plan_spans(7, 4, 2, 2)
