"""Identity attributes: their words, and their retrieval with CLIP."""
