"""The mathematics: numpy arrays in and out, no pandas, no input or output."""
