"""Pairs of photos and the data sets of benchmarks."""
