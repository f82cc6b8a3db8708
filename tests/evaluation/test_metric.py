"""Records survive JSON as they are; merged seeds have the first value, the spread and the mean null."""

import json
import math

import numpy as np
import pytest

from cellglass.errors import InputError
from cellglass.evaluation.metric import Metric, finite_or_none, from_records, over_seeds, to_records


def test_records_survive_json():
    metrics = [
        Metric("fidelity.l0", 8.0, 0.25, 7.5, 388, "what it is"),
        Metric("alignment.type.CD14+ Mono. 2.pca", 0.5),
    ]
    text = json.dumps(to_records(metrics), allow_nan=False)
    assert from_records(json.loads(text)) == metrics
    assert list(json.loads(text)[0]) == ["metric", "value", "spread", "null", "n", "definition"]


def test_numbers_that_json_lacks_become_null():
    record = Metric("x", math.nan, math.inf, -math.inf, np.int64(3)).to_record()
    assert json.loads(json.dumps(record, allow_nan=False)) == {
        "metric": "x",
        "value": None,
        "spread": None,
        "null": None,
        "n": 3,
        "definition": "",
    }
    assert math.isnan(Metric.from_record(record).value)


def test_a_record_without_a_field_is_refused():
    with pytest.raises(InputError, match="has no null, n"):
        Metric.from_record({"metric": "x", "value": 1, "spread": None, "definition": ""})


def test_over_seeds():
    runs = [
        [Metric("a", 1.0, null=0.1, n=5, definition="d"), Metric("b", 2.0)],
        [Metric("a", 2.0, null=0.3, n=6)],
        [Metric("a", 6.0), Metric("c", 1.0)],
    ]
    a, b = over_seeds(runs)
    assert (a.metric, a.value, a.n, a.definition) == ("a", 1.0, 5, "d")
    assert a.spread == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert a.null == pytest.approx(0.2)
    assert (b.metric, b.value, b.spread, b.null) == ("b", 2.0, None, None)
    assert over_seeds([]) == []


def test_a_seed_that_failed_does_not_hide_the_spread_of_the_others():
    (merged,) = over_seeds([[Metric("a", 1.0)], [Metric("a", math.nan)], [Metric("a", 3.0)]])
    assert merged.spread == pytest.approx(np.sqrt(2))


@pytest.mark.parametrize(
    ("value", "plain"),
    [(np.float32(0.5), 0.5), (np.int64(3), 3), (np.nan, None), (np.inf, None), (None, None), (True, 1)],
)
def test_numbers_for_json(value: object, plain: object) -> None:
    assert finite_or_none(value) == plain
