"""Statistics of labels and retrieved attributes in numpy, computed once before training."""
