"""What a network can be asked for."""

MODES = ("denoise", "sr", "sr-direct")
"""At the photo's own size; enlarged by PU after PD (paper, Sec. 3.4); enlarged by the network at once."""
