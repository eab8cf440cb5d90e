"""DNG: what its tags say of colour, crop and lens, and writing one."""
