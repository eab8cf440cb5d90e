"""Colour encodings: what a photo says of its own, ICC profiles read and made, and curves of brightness."""
