"""Objectives on features: one file each, equation and citation on top."""
