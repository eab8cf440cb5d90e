"""How large the tiles of a photo are: as few as memory allows, since what their halos see is computed again."""

import math
from dataclasses import replace

from nsp_pipeline.core.tiling import fewest_tiles, largest_tile, plan_tiles
from nsp_pipeline.engines.engine import Engine, EngineInfo, Shortage
from nsp_pipeline.errors import EngineFailedError, EngineOutOfMemoryError

SMALLEST_AUTO_TILE, LARGEST_AUTO_TILE = 512, 1024
HALOS_A_TILE = 12
"""Where it is not known how much memory there is, a tile is this many halos wide."""

SMALLEST_TILE = 64
"""Where memory runs out, automatic tiles are halved down to this size; a device must have memory for that."""

SOON, LATEST = 4, 64
"""After so many photos large tiles are tried again where memory had run out: whatever held it may have ended. Each time
that it runs out again it takes twice as many, so that hardly a photo is begun twice where memory is just small."""

LARGEST_AREA = 6_600_000
"""Pixels that a tile reads at most: of 24 megapixels, four tiles see 9 % twice. More would gain little, and a run is
told of its progress, and of an interrupt, between tiles."""


def tile_shape(info: EngineInfo, asked: int | None, reach: int, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of a tile of a photo, its halo not counted.

    Args:
        asked: the side that the user asked for.
        reach: pixels that blending looks at, on top of the network's halo.
        size: height and width of the photo, padded to the network's multiple.

    Raises EngineFailedError where the engine takes no tile at all.
    """
    free = info.tiling != "blended" and _given_side(info, asked) is None and info.most is None
    if free and info.room is not None:
        area = min(info.room, LARGEST_AREA)
        if shape := fewest_tiles(*size, area=area, halo=info.halo + reach, multiple=info.multiple):
            return shape
    side = tile_side(info, asked, reach)
    return side, side


def tile_side(info: EngineInfo, asked: int | None, reach: int) -> int:
    """The side of a square tile: what was asked for, else what suits the network; never more than the engine takes.

    Arguments and errors as for `tile_shape`.
    """
    blended = info.tiling == "blended"
    halo = 0 if blended else info.halo + reach
    # Tiles that fade into each other are no smaller than twice what they overlap by.
    least = 2 * -(-info.halo // info.multiple) * info.multiple if blended else info.multiple
    side = _given_side(info, asked) or min(max(SMALLEST_AUTO_TILE, HALOS_A_TILE * halo), LARGEST_AUTO_TILE)
    if info.room is not None and not asked:
        side = min(side, max(SMALLEST_TILE, least, largest_tile(math.isqrt(info.room), halo, info.multiple)))
    if info.most is None:
        return side
    largest = largest_tile(info.most, halo, info.multiple)
    if largest < least:
        raise EngineFailedError(
            f"{info.name} takes images of {info.most} pixels a side at most, too few for tiles of this network; "
            "try another --engine"
        )
    return min(side, largest)


def seen_twice(info: EngineInfo, size: tuple[int, int], reach: int = 0) -> float:
    """How much more of a photo of a size, exactly tiled, is computed than it has: 0.1 for a tenth."""
    height, width = (-(-side // info.multiple) * info.multiple for side in size)
    shape = tile_shape(info, None, reach, (height, width))
    tiles = plan_tiles(height, width, tile=shape, halo=info.halo + reach, multiple=info.multiple)
    read = sum((tile.rows.stop - tile.rows.start) * (tile.cols.stop - tile.cols.start) for tile in tiles)
    return read / (height * width) - 1


def _given_side(info: EngineInfo, asked: int | None) -> int | None:
    """The side that was asked for, or has found memory where larger ones lately have not, or suits the network."""
    short = info.shortage
    return asked or (short.side if short and short.left else info.tile)


def before_a_photo(info: EngineInfo) -> EngineInfo:
    """An engine that begins another photo, and after some of them tries large tiles again."""
    short = info.shortage
    return replace(info, shortage=replace(short, left=max(0, short.left - 1))) if short else info


def in_smaller_tiles(info: EngineInfo, side: int) -> EngineInfo:
    """An engine that memory has run out on, and that goes on with tiles of so many pixels a side."""
    short = info.shortage
    if short and short.left:
        return replace(info, shortage=replace(short, side=side))
    photos = min(2 * short.photos, LATEST) if short else SOON
    return replace(info, shortage=Shortage(side, photos, photos))


def halved(side: int, engine: Engine, asked: int | None, error: Exception) -> int:
    """Half of a tile that did not fit; raises EngineOutOfMemoryError, with advice, where it is not ours to choose."""
    reason = str(error) or "out of memory"
    if asked:
        advice = f"--tile {asked} is too much: lower it, or leave it out"
        raise EngineOutOfMemoryError(f"{reason}; {advice}") from error
    floor = max(SMALLEST_TILE, engine.info.multiple, 2 * engine.info.halo * (engine.info.tiling == "blended"))
    if side <= floor:
        raise EngineOutOfMemoryError(f"{reason}, even in tiles of {side} pixels: close other programs") from error
    return max(floor, side // 2)
