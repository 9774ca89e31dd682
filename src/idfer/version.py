"""The version, on the lowest floor: importing it imports nothing else."""

__version__ = "0.1.0"
