"""The one way in: arguments, labels, weights and predictions, read and checked."""
