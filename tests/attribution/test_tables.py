import numpy as np

from cellglass.attribution import tables
from cellglass.attribution.expression import Expression
from cellglass.attribution.statistics import GeneStatistics

GENES = np.array(["a", "b", "c"], dtype=object)


def test_only_measured_genes_have_rows_and_types_are_those_of_the_atlas():
    numbers = np.array([0.5, 0.0, -0.25], dtype=np.float32)
    rows = tables.statistics_rows(
        "swap", "activation", 4, GENES, GeneStatistics(numbers, numbers + 1, numbers, numbers), np.array([3, 0, 1]),
        np.array([-0.1, 1.0, 2.0]),
    )  # fmt: skip
    assert rows["gene"].tolist() == ["a", "c"]
    assert rows["effect"].tolist() == [0.5, -0.25]
    assert rows["score"].tolist() == [-0.5, -0.25]  # prototypes have less of the first gene
    assert rows["n"].tolist() == [3, 1]
    found = tables.expression_rows(4, GENES, Expression(numbers, numbers * 2, numbers, 9))
    assert found["score"].tolist() == [1.0, 0.0, -0.5]
    assert found["se"].isna().all()
    both = tables.joined([rows, found], tables.GENE_COLUMNS)
    for frame in (both, tables.joined([], tables.GENE_COLUMNS)):
        assert frame.dtypes.to_dict() == tables.GENE_COLUMNS
    assert len(both) == 5
