"""Decode one page of a TIFF, as a process of its own: PATH, the page's number or a page's and a sub-page's, --keep.

See `isolated.py` for why.
"""

from pathlib import Path

import tifffile

from nsp_pipeline.frames.decoders.isolated import Answer, Refusal, respond
from nsp_pipeline.frames.decoders.tiff_segments import BrokenSegmentError, decode_page


def main(arguments: list[str]) -> Answer:
    """Give the samples of a page, in tifffile's normalised shape; raises Refusal."""
    path, *position = (argument for argument in arguments if argument != "--keep")
    with tifffile.TiffFile(Path(path)) as tiff:
        pages, page = tiff.pages, None
        for number in map(int, position):
            page = pages[number]
            pages = page.pages
        try:
            samples, damage = decode_page(page, keep_damaged="--keep" in arguments)
        except BrokenSegmentError as error:
            raise Refusal(f"the TIFF is damaged: {error.words}", str(error), keepable=True) from error
    return Answer({"damage": damage}, b"", samples)


if __name__ == "__main__":
    respond(main)
