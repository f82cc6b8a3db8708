"""What stages leave for each other: how the cells are split."""

from __future__ import annotations

import numpy as np

from cellglass.pipeline import workspace
from cellglass.pipeline.run import Run


def test_the_three_parts_of_the_cells_share_none_and_leave_none_out(small_run: Run) -> None:
    for n in (10, 400, 1237):
        parts = workspace.held_out(small_run, n)
        assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(n))
        assert len(parts[1]) == len(parts[2]) == n // 10
