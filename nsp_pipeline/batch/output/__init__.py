"""The output folder: its manifest, its lock, what is up to date, and how files are published."""
