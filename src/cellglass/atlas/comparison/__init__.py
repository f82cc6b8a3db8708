"""How far the concepts of two atlases agree: pairs of concepts by two matchings, with chance beside them."""
