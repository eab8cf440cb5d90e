"""Training of the network that says how noisy a photo is."""
