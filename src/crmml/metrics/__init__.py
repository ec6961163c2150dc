"""Judgement: arrays in, numbers and tables out."""
