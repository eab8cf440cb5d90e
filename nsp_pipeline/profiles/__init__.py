"""Profile bundles: their format, where they live, and choosing one for a photo."""
