"""Fitting a profile to a camera from noisy photos alone."""
