"""A few places of a photo, denoised in several ways, to choose from."""
