"""How genes meet a model's: counted for each kind, told below four in five, refused below the floor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from torch import nn

from cellglass.cells import Cells
from cellglass.errors import InputError
from cellglass.models import CellModel, EmbeddingModel, ModuleModel, scgpt
from cellglass.models.coverage import ENOUGH, MOST_EXPECTED, GeneCoverage, concern, expected, refuse_few


def with_genes(ids: Sequence[str]) -> Cells:
    counts = sp.csr_matrix(np.ones((4, len(ids)), np.float32))
    index = pd.Index(list(ids), dtype=object)
    return Cells(counts, pd.DataFrame({"symbol": index}, index=index), pd.DataFrame(index=list("abcd")))


def reads(ids: Sequence[str]) -> ModuleModel:
    return ModuleModel(nn.Linear(len(ids), 2), ids, {"out": ""})


class Vocabulary:
    """As much of a transformer as is asked for here."""

    kind, vocabulary = "words", True

    def __init__(self, n: int) -> None:
        self.genes = pd.RangeIndex(n).astype(str)


def names(n: int, first: int = 0) -> list[str]:
    return [f"G{i}" for i in range(first, first + n)]


def test_genes_are_counted_as_a_loop_over_names_counts_them() -> None:
    model, cells = reads(["A", "B", "C", "D", "E"]), with_genes(["X", "C", "ENSG00000167286.4", "A", "Y"])
    known = [gene for gene in cells.genes.index if gene in set(model.genes)]
    assert model.cover(cells) == GeneCoverage(len(known), 5 - len(known), cells.n_genes - len(known))
    assert model.cover(model.align(cells)) == (5, 0, 0)


def test_every_kind_counts_them(cells: Cells) -> None:
    few = cells.select_genes(np.arange(0, cells.n_genes, 2))
    fitted = scgpt.fit(few, layers=1, width=8, heads=2, epochs=1)
    for model in (fitted, reads(list(few.genes.index))):
        found = model.cover(cells)
        assert found is not None
        assert found.found + found.unknown == cells.n_genes
        assert found.found == len(model.genes)
        assert model.vocabulary == (model is fitted)


def test_no_gene_enters_an_embedding(cells: Cells) -> None:
    table = cells.genes[["symbol"]]
    assert EmbeddingModel(table, {"z": 2}).cover(cells) is None


@pytest.mark.parametrize(("there", "refused"), [(8, False), (7, True), (1, True), (150, False)])
def test_a_floor_of_one_gene_in_twenty(there: int, refused: bool) -> None:
    model, cells = reads(names(150)), with_genes([*names(there), *names(40, 1000)])
    found = model.cover(cells)
    assert found is not None
    assert found.found == there
    if refused:
        with pytest.raises(InputError, match=rf"only {there} of the module model's 150 genes \(such as G0, G1\)"):
            refuse_few(model, cells, found)
    else:
        refuse_few(model, cells, found)


def test_enough_genes_are_enough_for_a_large_vocabulary() -> None:
    large: CellModel = Vocabulary(60_000)  # type: ignore[assignment]
    cells = with_genes(names(3))
    refuse_few(large, cells, GeneCoverage(ENOUGH, 60_000 - ENOUGH, 0))
    with pytest.raises(InputError, match="at least 200 are needed"):
        refuse_few(large, cells, GeneCoverage(ENOUGH - 1, 60_001 - ENOUGH, 0))


@pytest.mark.parametrize(
    ("model", "found", "counts", "said"),
    [
        (reads(names(100)), 80, 0.1, None),  # a fixed input may leave out most of the cells' genes
        (reads(names(100)), 79, 1.0, "only 79 of the module model's 100 genes are in the cells, the others count 0"),
        (Vocabulary(60_000), 17_000, 0.99, None),
        (Vocabulary(60_000), 15_000, 0.99, "only 15,000 of the words model's 60,000 genes .* are not read"),
        (Vocabulary(100), 79, 1.0, "only 79 of the words model's 100 genes"),
        (Vocabulary(60_000), 17_000, 0.79, "only 79% of the cells' counts lie in genes .* 5 genes of the cells"),
    ],
)
def test_little_is_told_in_a_line(model: CellModel, found: int, counts: float, said: str | None) -> None:
    line = concern(model, GeneCoverage(found, len(model.genes) - found, 5), counts)
    if said is None:
        assert line is None
    else:
        assert line is not None
        assert "\n" not in line
        assert pytest.importorskip("re").search(said, line)


def test_of_a_vocabulary_no_more_is_expected_than_usual_cells_have() -> None:
    assert expected(Vocabulary(60_000)) == MOST_EXPECTED  # type: ignore[arg-type]
    assert expected(Vocabulary(765)) == 765  # type: ignore[arg-type]
    wide = ModuleModel(
        nn.Embedding(3, 2), names(3), {"out": ""}, lambda counts: torch.zeros(len(counts), dtype=torch.int64)
    )
    assert expected(wide) == 3
