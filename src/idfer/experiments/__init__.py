"""Whole experiments: the demo."""
