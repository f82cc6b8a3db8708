"""The methods of attribution, one file each: what it is, its formula, and its ``ENTRY`` in the registry."""
