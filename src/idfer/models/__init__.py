"""Backbone, residual modules, head."""
