"""One training loop for every objective: crops, steps, checkpoints, judgement."""
