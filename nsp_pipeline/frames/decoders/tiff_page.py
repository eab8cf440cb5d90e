"""Decode one page of a TIFF, as a process of its own: PATH, then the page's number, or a page's and a sub-page's.

See `isolated.py` for why.
"""

import sys
from pathlib import Path

import tifffile

from nsp_pipeline.frames.decoders.isolated import answer, refuse


def main() -> None:
    """Send the samples of a page, in tifffile's normalised shape."""
    path, *position = sys.argv[1:]
    try:
        with tifffile.TiffFile(Path(path)) as tiff:
            pages, page = tiff.pages, None
            for number in map(int, position):
                page = pages[number]
                pages = page.pages
            answer({}, b"", page.asarray(maxworkers=1).reshape(page.shaped))  # type: ignore[union-attr]
    except Exception as error:
        # Decoders fail on damaged files in more ways than they document.
        refuse(f"the TIFF is damaged or of an unknown variant ({error})")


if __name__ == "__main__":
    main()
