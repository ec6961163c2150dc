"""Features: what the engine computes from the tables at a cutoff, and the labels after it."""
