"""`nsp denoise --calibrate`: profiles for the cameras that have none, and then the photos."""
