"""`nsp export`."""
