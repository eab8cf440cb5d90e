"""When the work was done: megapixels by time, as a picture that stands in a page by itself."""

import time
from collections.abc import Sequence
from html import escape

from nsp_pipeline.batch.output.record import Row

BARS, WIDTH, HEIGHT, FOOT = 60, 900, 140, 20


def timeline(rows: Sequence[Row]) -> str:
    """Bars of megapixels between the first and the last photo, as an SVG element; empty for fewer than two photos."""
    made = [(row.finished, row.made.megapixels or 0.0) for row in rows if row.finished]
    begin, end = min((when for when, _ in made), default=0.0), max((when for when, _ in made), default=0.0)
    if end <= begin:
        return ""
    sums = [0.0] * BARS
    for when, megapixels in made:
        sums[min(BARS - 1, int(BARS * (when - begin) / (end - begin)))] += megapixels
    highest, wide, room = max(sums) or 1.0, WIDTH / BARS, HEIGHT - FOOT
    each = (end - begin) / BARS
    bars = "".join(
        f'<rect x="{number * wide:.1f}" y="{room * (1 - value / highest):.1f}" width="{wide - 1:.1f}" '
        f'height="{room * value / highest:.1f}">'
        f"<title>{_clock(begin + number * each)}: {value:.0f} megapixels</title></rect>"
        for number, value in enumerate(sums)
    )
    return (
        f'<svg class="timeline" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="megapixels by time">{bars}'
        f'<text x="0" y="{HEIGHT - 4}">{escape(_clock(begin))}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 4}" text-anchor="end">{escape(_clock(end))}</text></svg>'
    )


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
