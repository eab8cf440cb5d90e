"""Students: networks that see every pixel, and the simulated cameras that they learn from."""
