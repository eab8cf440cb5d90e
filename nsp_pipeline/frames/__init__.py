"""Photos as arrays: reading and writing JPEG, PNG, TIFF and RAW with their metadata."""
