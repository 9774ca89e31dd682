"""Faces of three dimensions: open parametric heads, rendered by Mitsuba 3."""
