"""What every training may be told beside its config: which rows, of what, from which seed, kept where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch

from cellglass.activations.rows import Ints, Rows
from cellglass.progress import Progress

Data = Rows | torch.Tensor | np.ndarray[Any, Any]


class ManyOptions(TypedDict, total=False):
    """What several trainings in one pass share.

    Attributes
    ----------
    target : rows of a store, or tensor (rows, width)
        Of a transcoder: rows of the site that is written, of the same cells.
    rows_train, rows_valid : sequence of int
        Rows to learn from and rows to hold out. None for both: a tenth, drawn with the seed, is held out (at most
        65,536). None for one: all the others.
    columns : sequence of sequences of int
        Of each dictionary, the columns of a row that it learns from: of a transcoder what it reads, then what it is to
        write. None: all learn from the whole row.
    checkpoint : path
        A file from which an interrupted training goes on; removed at the end. None keeps none.
    progress : Progress
        Told the steps.
    """

    target: Data | None
    rows_train: Ints | Sequence[int] | None
    rows_valid: Ints | Sequence[int] | None
    columns: Sequence[Ints | Sequence[int]] | None
    checkpoint: Path | str | None
    progress: Progress


class TrainOptions(ManyOptions, total=False):
    """What one training may be told: what `ManyOptions` has, and its seed.

    Attributes
    ----------
    seed : int
        Of the first weights, the order of rows and the draws; 0 by default.
    groups : sequence of int, (n_rows,)
        Of every row of the site, the cell or the donor that it is of. Kinds that halve the rows put all of a group on
        one side, so that what comes back does so in other groups. None: rows are halved one by one.
    """

    seed: int
    groups: Ints | Sequence[int] | None


def check_options(options: Mapping[str, Any], kind: Any = TrainOptions) -> None:
    """Raise TypeError for an option that there is none of, as Python does for an argument."""
    for name in options:
        if name not in kind.__optional_keys__:
            raise TypeError(f"there is no option {name!r}; there are: {', '.join(sorted(kind.__optional_keys__))}")
