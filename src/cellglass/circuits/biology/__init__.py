"""Circuits held against biology: what genes do to genes in a model, beside known pairs of genes and beside knock-outs.

``regulation.py`` reads known pairs, ``edges.py`` asks a model what genes do to genes, ``coexpression.py`` is the
trivial rival, ``match.py`` holds both against the pairs, with the nulls of ``nulls.py``; ``knockouts.py`` holds effects
on an answer against knock-outs, in the model and in the cells.
"""
