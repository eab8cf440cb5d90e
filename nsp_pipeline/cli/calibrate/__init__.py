"""`nsp calibrate`."""
