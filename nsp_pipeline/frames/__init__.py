"""Photos as arrays: reading and writing JPEG, PNG, TIFF and RAW with their metadata."""

import logging

# What decoders find odd is judged here, file by file; their own words would only disturb the terminal.
for _library in ("imagecodecs", "tifffile"):
    logging.getLogger(_library).addHandler(logging.NullHandler())
    logging.getLogger(_library).propagate = False
