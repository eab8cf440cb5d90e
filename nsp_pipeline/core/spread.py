"""An order in which whatever comes first is spread over all there is."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def spread(items: Sequence[Item]) -> list[Item]:
    """The same items, the first, the middle one, those between these, and so on (van der Corput 1935).

    Whoever has no time for all of them has seen something of every part.
    """
    digits = max(1, (len(items) - 1).bit_length())
    return [items[place] for place in sorted(range(len(items)), key=lambda place: f"{place:0{digits}b}"[::-1])]
