"""Scores of predictions that need no bins."""
