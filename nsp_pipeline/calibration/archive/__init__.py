"""What an archive holds: groups of photos by camera and ISO, and the noise of each."""
