"""A ready-made table with an outcome: learned as it stands, without time and without a history."""
