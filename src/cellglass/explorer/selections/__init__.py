"""Selections of cells that people keep: how they are packed, stored, exchanged, and written into an AnnData file."""
