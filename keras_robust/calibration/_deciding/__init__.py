"""Decisions by confidence: what to accept, and what to leave open."""
