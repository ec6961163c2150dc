"""Churn: who is leaving, with and without a contract."""
