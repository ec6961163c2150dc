"""Training: evaluate candidates on the past, fit the best, and make a scoring bundle."""
