"""What a network takes of memory for a pixel of its image, told from its sizes: no engine says it beforehand."""

from collections.abc import Mapping
from typing import Any

MOST = 2000
"""Bytes a pixel of any network that ships, on any engine of the CPU: measured are 650 to 1700 for DBSN."""

UNET_MOST, UNET_EACH, UNET_ONCE = 7.5, 4.3, 150
"""Bytes a pixel: for a channel of the first level and a copy, no more than of the latter two. Measured on OpenVINO,
which takes the most: 120 for 16 channels, 424 for 32 and two copies, 1200 for 32 and eight."""

OF_HALF = 0.5
"""How much of that a GPU takes in half precision. By an H200, PyTorch, 24 megapixels: 52 bytes a pixel for 16 channels,
144 for 56, 236 for 96, all that surrounds the network included, of 244, 514 and 687 that an engine of the CPU may."""

AROUND = 124
"""Bytes a pixel of image, estimate and what blending takes."""

IN_TURN = 2.6
"""Copies that OpenVINO holds at once where one is computed after the other: four copies of 56 channels take 756 bytes a
pixel there, and 333 on ONNX Runtime, which holds one."""


def copies_held(copies: int, engine: str, *, in_turn: bool) -> float:
    """How many copies of a self-ensemble an engine holds at once.

    Args:
        engine: its name.
        in_turn: see EngineInfo.
    """
    return (1.0 if engine == "onnx" else min(copies, IN_TURN)) if in_turn else copies


def bytes_a_pixel(backbone: str, sizes: Mapping[str, Any], copies: float, *, half: bool = False) -> int:
    """Bytes that an engine of the CPU, in float32, and blending take at most for a pixel of a tile.

    Args:
        backbone, sizes: as in a profile's BackboneSpec; of one that is not known here, MOST is said.
        copies: of the self-ensemble that are held at once.
        half: of a GPU in half precision, instead; it is known of the same backbones.
    """
    widths = sizes.get("channels")
    if backbone != "unet" or not isinstance(widths, list | tuple) or not widths:
        return MOST
    channels = widths[0] * copies
    most = min(UNET_MOST * channels, UNET_EACH * channels + UNET_ONCE)
    return int(OF_HALF * most if half else most) + AROUND
