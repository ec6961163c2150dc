"""Loyalty: how much of their need customers meet at the house."""
