"""Image space: what a trained run's features still show of a face, drawn back."""
