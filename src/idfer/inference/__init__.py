"""Valence-arousal on photographs."""
