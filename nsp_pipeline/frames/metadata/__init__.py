"""EXIF, TIFF directories and camera names."""
