"""Lines in a frame, as an SVG element that stands in a page by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, MARGIN, EDGE = 460, 240, 40, 10
GRID = (0.0, 0.25, 0.5, 0.75, 1.0)
HEADROOM = 1.1


@dataclass(frozen=True)
class Line:
    """Points (x rising, y) joined in a CSS colour."""

    x: Sequence[float]
    y: Sequence[float]
    colour: str
    dashed: bool = False


def line_plot(
    lines: Sequence[Line],
    *,
    ticks: Sequence[float],
    label: str,
    lowest: float | None = 0.0,
    digits: str = ".1f",
) -> str:
    """Draw lines over the range of `ticks`.

    Args:
        lines: at least one point in all.
        ticks: rising values to write below; the first and the last are where the frame ends.
        label: what it shows, for those who cannot see it.
        lowest: value at the bottom; None takes the lowest there is.
        digits: format of the values at the left.
    """
    values = [value for line in lines for value in line.y]
    bottom = min(values) if lowest is None else lowest
    top = bottom + (max(values) - bottom) * HEADROOM or bottom + 1.0

    def across(x: float) -> float:
        return MARGIN + (x - ticks[0]) / (ticks[-1] - ticks[0]) * (WIDTH - MARGIN - EDGE)

    def up(share: float) -> float:
        return HEIGHT - MARGIN - share * (HEIGHT - MARGIN - EDGE)

    drawn = "".join(
        f'<text x="{across(tick):.0f}" y="{HEIGHT - MARGIN + 16}" text-anchor="middle">{tick:g}</text>'
        for tick in ticks
    )
    drawn += "".join(
        f'<line x1="{MARGIN}" x2="{WIDTH - EDGE}" y1="{up(share):.1f}" y2="{up(share):.1f}" stroke="#eee"/>'
        f'<text x="{MARGIN - 6}" y="{up(share) + 4:.1f}" text-anchor="end">{bottom + share * (top - bottom):{digits}}'
        "</text>"
        for share in GRID
    )
    for line in lines:
        places = zip(line.x, line.y, strict=True)
        points = " ".join(f"{across(x):.1f},{up((y - bottom) / (top - bottom)):.1f}" for x, y in places)
        dash = ' stroke-dasharray="6 3"' if line.dashed else ""
        drawn += f'<polyline fill="none" stroke="{line.colour}" stroke-width="2"{dash} points="{points}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{drawn}</svg>'
    )
