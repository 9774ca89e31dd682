"""Embedded faces with known identity and expression."""
