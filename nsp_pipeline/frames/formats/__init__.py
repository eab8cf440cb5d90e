"""One module for each kind of file: decode strictly, write with all metadata."""
