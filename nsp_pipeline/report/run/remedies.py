"""What helps a photo that failed."""

from nsp_pipeline.batch.output.record import Row

FORMATS = "JPEG, PNG, TIFF, RAW, JPEG XL, AVIF, WebP and JPEG 2000"
AGAIN = "run the same command again: it is tried once more"
LASTING = "put a sound copy in its place: then the same command makes it; --retry-failed tries this one again"


def remedy_for(row: Row) -> str:
    """What to do about a failure, in a sentence."""
    error = row.error or ""
    if row.made.damaged:
        return "bring a sound copy from a backup, or add --damaged keep to denoise what can be read"
    if "format not supported" in error:
        return f"convert it first: nsp reads {FORMATS}"
    if "--" in error:
        return "as the reason says"
    if "died" in error:
        return "close other programs, or add --retry-failed with a smaller --tile"
    return LASTING if row.lasting else AGAIN
