"""Pair construction, pixel-shuffle downsampling (PD) and its inverse (PU), tiling arithmetic: arrays in, arrays out."""
