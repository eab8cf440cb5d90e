"""Tiles cover an image exactly once, with their halo, on the grid of PD."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsp_pipeline.core.tiling import fewest_tiles, largest_tile, plan_spans, plan_tiles
from nsp_pipeline.errors import UsageError
from nsp_pipeline.models.memory import bytes_a_pixel


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


@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 60), st.integers(1, 8), st.integers(400, 400_000))
def test_the_best_tile_reads_no_more_than_it_may_and_no_square_one_does_with_less(
    down: int, across: int, halo: int, multiple: int, area: int
) -> None:
    height, width = down * multiple, across * multiple
    shape = fewest_tiles(height, width, area=area, halo=halo, multiple=multiple)
    side = largest_tile(math.isqrt(area), halo, multiple)
    if shape is None:
        assert side < multiple or width > 48 * side
        return

    def read(tile: int | tuple[int, int]) -> list[int]:
        tiles = plan_tiles(height, width, tile=tile, halo=halo, multiple=multiple)
        return [(tile.rows.stop - tile.rows.start) * (tile.cols.stop - tile.cols.start) for tile in tiles]

    assert max(read(shape)) <= area
    if side >= multiple and max(width, height) <= 48 * side:
        # Rounding to round numbers may cost it a little.
        assert sum(read(shape)) <= 1.1 * sum(read(side))


@pytest.mark.parametrize("size", [(4000, 6000), (6000, 4000)])
def test_24_megapixels_in_the_memory_that_standard_may_take_see_less_than_12_percent_twice(
    size: tuple[int, int],
) -> None:
    shape = fewest_tiles(*size, area=(3 << 30) // bytes_a_pixel("unet", {"channels": [32]}, 2), halo=86, multiple=8)
    assert shape
    tiles = plan_tiles(*size, tile=shape, halo=86, multiple=8)
    read = sum((tile.rows.stop - tile.rows.start) * (tile.cols.stop - tile.cols.start) for tile in tiles)
    assert read < 1.12 * size[0] * size[1]


def test_a_side_off_the_grid_is_refused() -> None:
    with pytest.raises(UsageError, match="size 7"):
        plan_spans(7, 4, 2, 2)
