"""An order in which the first ones are of everywhere."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from nsp_pipeline.core.spread import spread


@given(st.integers(0, 300), st.data())
def test_all_are_there_once_and_the_first_ones_leave_no_long_part_out(count: int, data: st.DataObject) -> None:
    order = spread(range(count))
    assert sorted(order) == list(range(count))
    if count:
        seen = data.draw(st.integers(1, count))
        places = [-1, *sorted(order[:seen]), count]
        longest = max(after - before - 1 for before, after in pairwise(places))
        assert longest <= 4 * count / seen + 1
