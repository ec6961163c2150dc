"""Forecasts of purchases and spend in a window: the candidates of a backtest."""
