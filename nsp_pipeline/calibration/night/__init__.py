"""Calibrations before a night's photos: which groups need one, and what came of earlier ones."""
