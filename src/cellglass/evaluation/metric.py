"""One number that others can read: a metric with its spread over seeds, its null and its definition.

`Metric` is a record of ``evaluation.json``. Computes no metric itself and imports nothing heavy, so that readers may
use it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cellglass.errors import InputError

_FIELDS = ("metric", "value", "spread", "null", "n", "definition")


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes
    ----------
    metric : str
        Dotted, stable name, such as ``fidelity.l0``. A part that comes from the user, such as a label's value, stands
        as it is, with whatever dots and blanks it has.
    value : float
        The metric; NaN where it could not be computed.
    spread : float or None
        Standard deviation over seeds; None where one seed ran.
    null : float or None
        The same metric for the control that fits it; None where none fits.
    n : int or None
        How many things (cells, pairs, concepts: the definition says which) the value rests on.
    definition : str
        One or two sentences: what was computed, on what, and what the null is.
    """

    metric: str
    value: float
    spread: float | None = None
    null: float | None = None
    n: int | None = None
    definition: str = ""

    def to_record(self) -> dict[str, Any]:
        """Return a JSON-ready record; NaN and infinities, which JSON does not know, become None."""
        return {
            "metric": self.metric,
            "value": finite_or_none(self.value),
            "spread": finite_or_none(self.spread),
            "null": finite_or_none(self.null),
            "n": None if self.n is None else int(self.n),
            "definition": self.definition,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Metric:
        """Return the metric of a record; a value of None is read as NaN. InputError where a field is missing."""
        missing = [name for name in _FIELDS if name not in record]
        if missing:
            raise InputError(
                f"the metric record {dict(record)!r} has no {', '.join(missing)}; a record holds {', '.join(_FIELDS)}"
            )
        values = {name: record[name] for name in _FIELDS}
        if values["value"] is None:
            values["value"] = math.nan
        return cls(**values)


def to_records(metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """Return the records of `metrics`, in their order: the content of ``evaluation.json``."""
    return [metric.to_record() for metric in metrics]


def from_records(records: Sequence[Mapping[str, Any]]) -> list[Metric]:
    """Return the metrics of `records`, in their order."""
    return [Metric.from_record(record) for record in records]


def over_seeds(runs: Sequence[Sequence[Metric]]) -> list[Metric]:
    """Merge the metrics of several seeds into one list.

    The first run is that of the dictionary that the atlas shows. A merged metric has

    - ``value``, ``n`` and ``definition`` of the first run: the number belongs to what is shown, not to an average of
      dictionaries that nobody sees;
    - ``spread``: the sample standard deviation (n - 1) of the values of all runs, None where fewer than two are finite;
    - ``null``: the mean of the runs' nulls, since no run's control is shown and the mean is its best estimate.

    A metric that the first run lacks is left out: nothing that is shown has it.
    """
    if not runs:
        return []
    others = [{metric.metric: metric for metric in run} for run in runs]
    merged = []
    for first in runs[0]:
        same = [run[first.metric] for run in others if first.metric in run]
        values = np.array([metric.value for metric in same], dtype=float)
        values = values[np.isfinite(values)]
        nulls = [metric.null for metric in same if metric.null is not None and math.isfinite(metric.null)]
        merged.append(
            replace(
                first,
                spread=float(values.std(ddof=1)) if len(values) > 1 else None,
                null=float(np.mean(nulls)) if nulls else None,
            )
        )
    return merged


def finite_or_none(value: object) -> float | int | None:
    """Return a plain Python number for JSON, or None for what is missing or not finite."""
    if value is None:
        return None
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, int | np.integer):
        return int(value)
    number = float(value)  # type: ignore[arg-type]  # numpy scalars and floats; anything else fails here as it should
    return number if np.isfinite(number) else None
