"""Manifests, images, faces."""
