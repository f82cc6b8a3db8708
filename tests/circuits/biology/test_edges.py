"""Effects of genes on genes: those of one cell and one target, means over cells, resumed work, wrong use."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellglass.circuits.asked import ask
from cellglass.circuits.biology.edges import SORTS, STATE, gene_edges, some_cells
from cellglass.circuits.genes import by_gene, token_effects
from cellglass.errors import InputError
from circuits.models import NAMES, TARGETS, cells_of, model_of, transcoders_of

GENES = [*NAMES[:3], "CCL5"]
KINDS = sorted(TARGETS)


def edges(kind: str, n: int = 3, **more) -> pd.DataFrame:
    return gene_edges(model_of(kind), cells_of()[:n], transcoders_of(kind), GENES, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_an_edge_is_the_mean_total_effect_of_the_sources_tokens(kind: str) -> None:
    """Against a question of its own for each cell and target."""
    model, found = model_of(kind), edges(kind).set_index(["source", "target"])
    seen = 0
    for target in GENES:
        columns = []
        for i in range(3):
            try:
                one = ask(model, cells_of()[i : i + 1], transcoders_of(kind), f"{SORTS[model.kind]}:{target}")
            except InputError:
                assert kind in ("scgpt", "geneformer")
                continue
            columns.append(by_gene(token_effects(one), one.question.genes))
        values = pd.DataFrame(columns)
        for source in GENES:
            if source == target or source not in values or not values[source].notna().any():
                assert (source, target) not in found.index
                continue
            row = found.loc[(source, target)]
            assert row["n"] == values[source].notna().sum()
            assert row["effect"] == pytest.approx(values[source].mean(), rel=1e-4, abs=1e-5)
            assert row["sd"] == pytest.approx(values[source].std(), rel=1e-3, abs=1e-5, nan_ok=True)
            seen += 1
    assert seen == len(found) >= 6
    assert found["effect"].abs().max() > 1e-3


def test_little_memory_gives_the_same() -> None:
    pd.testing.assert_frame_equal(edges("scgpt", memory=1), edges("scgpt"), rtol=1e-4, atol=1e-6)


def test_work_that_was_stopped_goes_on_to_the_same_numbers(tmp_path) -> None:
    whole = edges("geneformer")

    def stop(what: str, done: int, total: int) -> None:
        assert (what, total) == ("trace genes", 3)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        edges("geneformer", folder=tmp_path, progress=stop)
    told = []
    again = edges("geneformer", folder=tmp_path, progress=lambda what, done, total: told.append(done))
    assert told == [3]
    pd.testing.assert_frame_equal(again, whole, check_exact=True)
    with pytest.raises(InputError, match="holds effects of genes on genes of other cells"):
        edges("geneformer", n=2, folder=tmp_path)
    (tmp_path / STATE).write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"edges\.safetensors cannot be read; remove"):
        edges("geneformer", folder=tmp_path)


def test_wrong_use_is_one_line() -> None:
    model, transcoders = model_of("scgpt"), transcoders_of("scgpt")
    with pytest.raises(InputError, match="needs two of them at least; 1 was given"):
        gene_edges(model, cells_of(), transcoders, ["LYZ", "LYZ"])
    with pytest.raises(InputError, match="no gene 'NONE'"):
        gene_edges(model, cells_of(), transcoders, ["LYZ", "NONE"])
    with pytest.raises(InputError, match="there are no cells"):
        gene_edges(model, cells_of()[:0], transcoders, GENES)
    cell = cells_of()[:1]
    counts = cell.counts.copy()
    counts[0, 3:5] = 0
    counts.eliminate_zeros()
    with pytest.raises(InputError, match="in none of 1 cells does one of NKG7, MS4A1 act on another; such as: "):
        gene_edges(model, cell.with_counts(counts), transcoders, NAMES[3:5])


def test_cells_are_drawn_and_of_a_label_where_asked() -> None:
    cells = cells_of()
    drawn = some_cells(cells, 3, seed=1)
    assert drawn.n_cells == 3
    assert drawn.obs.index.tolist() == some_cells(cells, 3, seed=1).obs.index.tolist()
    assert set(some_cells(cells, 2, "type", "T cell").obs["type"]) == {"T cell"}
    assert some_cells(cells, 99).n_cells == cells.n_cells
    assert np.array_equal(some_cells(cells, 99).counts.toarray(), cells.counts.toarray())
    with pytest.raises(InputError, match="which column of obs has 'T cell'"):
        some_cells(cells, 2, None, "T cell")
    with pytest.raises(InputError, match="the number of cells is 0"):
        some_cells(cells, 0)
