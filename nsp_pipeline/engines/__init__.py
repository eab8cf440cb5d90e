"""One interface over the inference back ends."""
