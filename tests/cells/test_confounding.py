"""A batch that nearly is the condition is said with its table; one that goes across is not."""

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.cells import Cells
from cellglass.cells.confounding import confounded


def cells_of(**columns: list[str]) -> Cells:
    obs = pd.DataFrame({name: pd.Categorical(values) for name, values in columns.items()})
    obs.index = [f"c{i}" for i in range(len(obs))]
    counts = sp.csr_matrix(np.ones((len(obs), 1), dtype=np.float32))
    return Cells(counts, pd.DataFrame({"symbol": ["A"]}, index=["A"]), obs, source="these cells")


def test_a_donor_that_holds_nearly_all_stimulated_cells_is_named_with_the_table():
    condition = ["stim"] * 100 + ["ctrl"] * 100
    donor = ["d8"] * 94 + ["d1"] * 6 + ["d1"] * 45 + ["d2"] * 50 + ["d8"] * 5
    said = confounded(cells_of(condition=condition, donor=donor), "donor", "condition")
    assert said is not None
    assert said.startswith("these cells: batch 'donor' nearly is the label 'condition' (d8 holds 94% of stim and 5% of")
    assert said.endswith("Cells by condition: ctrl: d2 50, d1 45, d8 5; stim: d8 94, d1 6")
    assert "\n" not in said


def test_a_batch_that_goes_across_a_label_is_fine():
    rng = np.random.default_rng(0)
    fine = cells_of(condition=["stim", "ctrl"] * 100, donor=rng.choice(["d1", "d2"], 200).tolist())
    assert confounded(fine, "donor", "condition") is None
    # One batch holds nearly all cells of every type, and a type of few cells lies in one batch by chance.
    one = cells_of(
        type=["a"] * 90 + ["b"] * 90 + ["rare"] * 5, donor=["d1"] * 88 + ["d2"] * 2 + ["d1"] * 90 + ["d2"] * 5
    )
    assert confounded(one, "donor", "type") is None
    assert confounded(cells_of(type=["a"] * 50, donor=["d"] * 50), "donor", "type") is None
