"""The audit: what a valence-arousal model tells about people, and whom it fails. Arrays in, tables out."""
