"""How far the concepts of two atlases agree: pairs of concepts in two ways of matching, with chance beside them."""
