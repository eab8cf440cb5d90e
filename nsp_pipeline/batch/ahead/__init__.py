"""What a run has before it: photos, megapixels, time and disk."""
