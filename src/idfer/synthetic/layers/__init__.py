"""The layers of a face, drawn back to front; one file each."""
