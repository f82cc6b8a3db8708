from pathlib import Path

import numpy as np
import pytest

from cellglass.enrichment.genesets import GeneSets
from cellglass.enrichment.members import members

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def genesets():
    """Folder of public GMT files."""
    if not (SHARED / "genesets").is_dir():
        pytest.skip(f"no gene sets at {SHARED / 'genesets'}")
    return SHARED / "genesets"


@pytest.fixture
def zheng():
    """Path of the sorted blood cells."""
    path = SHARED / "cells" / "zheng_facs_pbmc.h5ad"
    if not path.is_file():
        pytest.skip(f"no cells at {path}")
    return path


@pytest.fixture
def random_sets():
    """Return a function that makes sets of random genes g0..gN."""

    def make(n_genes, sizes, seed=0):
        rng = np.random.default_rng(seed)
        sets = {
            f"set{i}": tuple(f"g{j}" for j in rng.choice(n_genes, size, replace=False)) for i, size in enumerate(sizes)
        }
        source = GeneSets("random", sets)
        return source, members(source, [f"g{j}" for j in range(n_genes)], min_size=1)

    return make
