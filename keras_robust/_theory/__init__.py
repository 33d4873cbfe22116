"""What a loss makes a model believe, and back: pure NumPy."""
