"""Which label names donors: what the run was told, or one that is called so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cellglass.explorer.data.donors import donor_label


@pytest.mark.parametrize(
    ("batch", "labels", "found"),
    [
        ("lane", ["cell type", "donor_id", "lane"], "lane"), (None, ["cell type", "donor_id"], "donor_id"),
        ("gone", ["Patient ID", "sample"], "Patient ID"), (None, ["cell type", "batches of cells"], None),
        (None, ["donor:1"], None),
    ],
)  # fmt: skip
def test_the_label_of_donors(batch: str | None, labels: list[str], found: str | None) -> None:
    sizes = {name.split(":")[0]: np.array([0, 5] if ":" in name else [0, 5, 4]) for name in labels}
    atlas = SimpleNamespace(manifest={"config": {"cells": {"batch": batch}}} if batch else {})
    source: Any = SimpleNamespace(atlas=atlas, codes=dict.fromkeys(sizes), totals=sizes)
    assert donor_label(source) == found
