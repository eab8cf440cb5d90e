"""From a trained network to files that inference engines run."""
