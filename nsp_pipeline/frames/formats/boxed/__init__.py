"""Newer formats, most of them made of boxes: JPEG XL, AVIF, JPEG 2000, WebP."""
