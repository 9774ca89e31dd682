"""Experiments on a user's own manifest: who is learned from and tested, trials, and their page."""
