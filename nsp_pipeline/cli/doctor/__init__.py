"""`nsp doctor`."""
