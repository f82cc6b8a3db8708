import numpy as np
import pandas as pd
import pytest

from cellglass.attribution import tables
from cellglass.attribution.statistics import GeneStatistics
from cellglass.errors import InputError

GENES = np.array(["a", "b", "c"], dtype=object)


def test_only_measured_genes_have_rows_and_types_are_those_of_the_atlas():
    numbers = np.array([0.5, 0.0, -0.25], dtype=np.float32)
    rows = tables.statistics_rows(
        4,
        GENES,
        GeneStatistics(numbers, numbers + 1, numbers, numbers),
        np.array([3, 0, 1]),
        np.array([-0.1, 1.0, 2.0]),
    )
    assert rows["gene"].tolist() == ["a", "c"]
    assert rows["effect"].tolist() == [0.5, -0.25]
    assert rows["score"].tolist() == [-0.5, -0.25]  # prototypes have less of the first gene
    assert rows["n"].tolist() == [3, 1]
    assert rows.dtypes.to_dict() == tables.MEASURED
    every = tables.rows_of(4, GENES, effect=numbers, se=numbers, score=numbers * 2, q=numbers, n=np.full(3, 9))
    both = tables.joined([tables.stamped(x, "swap", "activation") for x in (rows, every)], tables.GENE_COLUMNS)
    for frame in (both, tables.joined([], tables.GENE_COLUMNS)):
        assert frame.dtypes.to_dict() == tables.GENE_COLUMNS
        assert list(frame) == list(tables.GENE_COLUMNS)
    assert len(both) == 5


def test_what_a_method_gives_is_put_in_order_and_a_missing_column_is_named():
    rows = pd.DataFrame(
        {"n": [1.0], "gene": ["a"], "concept": [3], "score": [1], "effect": [0.5], "q": [0.1], "mine": [2]}
    )
    with pytest.raises(InputError, match="method 'mine' gave a table without se; mend it"):
        tables.stamped(rows, "mine", "activation")
    found = tables.stamped(rows.assign(se=np.nan), "mine", "activation")
    assert found.dtypes.to_dict() == tables.GENE_COLUMNS
    assert found.loc[0, ["method", "on", "concept", "gene", "n"]].tolist() == ["mine", "activation", 3, "a", 1]
