"""The contract of the data and the doors through which they come in."""
