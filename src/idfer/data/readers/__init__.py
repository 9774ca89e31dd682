"""Data sets as they lie on a disk, each to one manifest: a file per set, listed in `catalogue.READERS`."""
