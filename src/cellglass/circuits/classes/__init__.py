"""The circuit of a class of cells: one graph of many, with how often each part appears and how it differs from others.

``cells.py`` says which cells, ``merging.py`` adds up the positions of one cell's graph, ``sums.py`` and ``tables.py``
make means over cells of it, ``making.py`` does so for a class, ``circuit.py`` is what comes out and ``files.py`` keeps
it; ``stability.py`` and ``faithfulness.py`` say how good it is, and ``deletions.py`` what goes without each gene.
"""
