"""Where recovery of planted programs is lost: by expression of the genes, by programs that go together.

Measures for `planted_programs`; runs nothing by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from cellglass.cells.cells import Cells
from cellglass.cells.simulate import Simulated
from cellglass.dictionaries.base import Dictionary
from cellglass.evaluation.recovery import auroc
from cellglass.models.base import CellModel

TOGETHER = 0.3
"""Two programs go together where their activities correlate by more than this over cells."""

_CELLS = 300


def partners(truth: Simulated) -> np.ndarray[Any, Any]:
    """Return which programs go together, bool (n_programs, n_programs), a program not with itself."""
    together = np.corrcoef(truth.activity.T) > TOGETHER
    np.fill_diagonal(together, val=False)
    return together


def where_lost(scores: Mapping[str, pd.DataFrame], truth: Simulated, match: pd.DataFrame) -> pd.DataFrame:
    """Return for each method and program where it loses.

    Columns ``method``, ``program``, ``together`` (another program goes with it), ``quarter 1`` to ``quarter 4`` (AUROC
    of its genes in that quarter of mean expression against all genes outside it), ``wrong`` (share of as many top genes
    as the program has that are not its own) and ``wrong, of a partner`` (share that belong to a program that goes with
    it).
    """
    members, with_others = truth.membership.to_numpy(), partners(truth)
    mean = np.asarray(truth.cells.counts.mean(axis=0)).ravel()
    quarter = np.digitize(mean, np.quantile(mean, [0.25, 0.5, 0.75]))
    rows = []
    for method, table in scores.items():
        for p, latent in zip(match["program"], match["latent"], strict=True):
            row, own = table.loc[latent].to_numpy(dtype=float), members[:, p]
            of_partner = members[:, with_others[p]].any(axis=1)
            top = np.argsort(-row, kind="stable")[: own.sum()]
            split = [auroc(row[~own | (quarter == i)], own[~own | (quarter == i)]) for i in range(4)]
            wrong = ~own[top]
            rows.append((method, p, bool(with_others[p].any()), *split, wrong.mean(), (wrong & of_partner[top]).mean()))
    quarters = [f"quarter {i}" for i in range(1, 5)]
    return pd.DataFrame(rows, columns=["method", "program", "together", *quarters, "wrong", "wrong, of a partner"])


def sensitivity(model: CellModel, cells: Cells, dictionary: Dictionary, match: pd.DataFrame) -> pd.DataFrame:
    """Return the mean gradient of each matched latent's pre-activation by each gene's log count: concepts x genes.

    No pair is drawn and no gene has to differ between two cells, so what is lost here the model itself does not read.
    """
    some = cells[: min(_CELLS, cells.n_cells)]
    counts = torch.log1p(torch.as_tensor(some.counts.toarray())).requires_grad_(True)
    pre = dictionary.preactivations(model.path_gradient("z", counts, some))
    latents = sorted(set(match["latent"]))
    rows = [torch.autograd.grad(pre[:, c].sum(), counts, retain_graph=True)[0].mean(dim=0).numpy() for c in latents]
    return pd.DataFrame(np.stack(rows), index=latents)
