"""Metrics, leakage probes."""
