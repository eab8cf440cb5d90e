"""Next-Scale Prediction: a blind-spot network learns from noisy photos alone."""
