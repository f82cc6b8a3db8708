"""What marks a set of cells: rank-sum tests of concepts and genes, block by block in bounded memory."""
