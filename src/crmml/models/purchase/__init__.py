"""Purchase processes: how often customers buy, and whether they are still active."""
