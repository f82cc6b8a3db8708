"""Sparse products, selection of latents and their gradients: what makes training fast. Knows of no kind."""
