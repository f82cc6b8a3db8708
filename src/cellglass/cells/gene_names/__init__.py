"""What genes are called: symbols of human and mouse Ensembl ids, one-to-one orthologs, previous symbols and aliases.

Facts from tables that ship with cellglass (README.md beside them names their sources), read when first asked for. The
case of a symbol is part of it: ``Cd3e`` is a mouse gene, ``CD3E`` a human one, and nothing here takes one for the
other. Rat genes have the symbols of their mouse orthologs by convention, and are read as mouse genes.
"""

from cellglass.cells.gene_names.species import Species, ensembl_species, species_of
from cellglass.cells.gene_names.tables import aliases, ensembl_of, known_symbols, orthologs

__all__ = ["Species", "aliases", "ensembl_of", "ensembl_species", "known_symbols", "orthologs", "species_of"]
