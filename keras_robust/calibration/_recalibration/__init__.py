"""Maps from a model's probabilities to calibrated ones."""
