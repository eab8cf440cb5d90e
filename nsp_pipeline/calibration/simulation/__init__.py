"""Shots of simulated cameras: clean pictures, what cameras make of them, and how noisy that is."""
