"""PyTorch as an inference engine."""
