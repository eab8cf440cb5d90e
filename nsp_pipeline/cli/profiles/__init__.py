"""`nsp profiles`."""
