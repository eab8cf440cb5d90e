"""`nsp evaluate`."""
