"""Shift protocols [ours]: a file each says which worlds are drawn. `idfer.catalogue.PROTOCOLS` lists them."""
