"""Predictions in bins: the table, how it is made, what chance does to it."""
