"""Worlds with known truth, for tests, notebooks, benchmarks and demonstrations."""
