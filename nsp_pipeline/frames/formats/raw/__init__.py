"""RAW: how it is read, and what it says of the shot."""
