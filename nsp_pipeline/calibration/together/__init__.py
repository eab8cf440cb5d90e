"""Students of several sizes and the noise estimator, trained at once on a GPU from the same simulated crops."""
