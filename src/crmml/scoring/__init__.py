"""Scoring: a bundle applied to a transaction log."""
