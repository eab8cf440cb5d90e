"""Other denoisers on the same photos."""
