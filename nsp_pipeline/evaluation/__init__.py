"""How close a denoised photo comes to a clean one."""
