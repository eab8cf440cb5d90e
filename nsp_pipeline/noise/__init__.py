"""How noisy a photo is: a small network's estimate, by brightness, with its uncertainty."""
