"""What features fire on: the fields that the page reads, and numbers that follow from the activations."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cellglass.circuits.details import Example, feature_details, write_feature_details
from cellglass.errors import InputError

FIELDS = [
    "transcoder_id", "index", "examples_quantiles", "top_logits", "bottom_logits", "act_min", "act_max",
    "quantile_values", "histogram", "activation_frequency",
]  # fmt: skip


def test_fields_and_numbers(tmp_path: Path) -> None:
    values = np.random.default_rng(0).exponential(size=500) + 0.1
    groups = {
        "Top activations": [Example(["CD79A", " :"], [3.0, 0.0]), Example(["LYZ"], [2.5])],
        "Middle": [Example(["a", "b", "c"], [0, 1, 0.5])],
    }
    found = feature_details(1, 3, groups, values, n_tokens=4000, transcoder="layer 1", top=["B"], bottom=["T"])
    path = write_feature_details(found, tmp_path)
    assert path.name == "13.json"  # (1 + 3) (1 + 3 + 1) / 2 + 3
    held = json.loads(path.read_text())
    assert held == found
    assert list(held) == FIELDS
    assert [group["quantile_name"] for group in held["examples_quantiles"]] == ["Top activations", "Middle"]
    assert held["examples_quantiles"][1]["examples"] == [
        {"tokens_acts_list": [0.0, 1.0, 0.5], "train_token_ind": 1, "is_repeated_datapoint": False,
         "tokens": ["a", "b", "c"]}
    ]  # fmt: skip
    assert (held["act_min"], held["act_max"]) == (values.min(), values.max())
    assert held["quantile_values"][2] == pytest.approx(np.median(values))
    assert held["activation_frequency"] == 0.125
    edges = np.linspace(values.min(), values.max(), 33)
    inside = [((values >= a) & (values < b)).mean() for a, b in pairwise(edges)]
    inside[-1] += (values == values.max()).mean()
    np.testing.assert_allclose(held["histogram"], inside, atol=1e-9)


def test_a_feature_that_never_fires_and_one_that_fires_once() -> None:
    never = feature_details(0, 0, {}, [], n_tokens=10)
    assert (never["act_max"], never["activation_frequency"], sum(never["histogram"])) == (0, 0, 0)
    once = feature_details(0, 0, {}, [2.0], n_tokens=10)
    assert (once["act_min"], once["act_max"], once["histogram"][0]) == (2, 2, 1)


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(InputError, match="feature 2 of layer 0 has 2 tokens and 1 activations"):
        feature_details(0, 2, {"Top": [Example(["a", "b"], [1.0])]}, [1.0], n_tokens=2)
    with pytest.raises(InputError, match="activations that are no finite numbers"):
        feature_details(0, 2, {"Top": [Example(["a"], [float("nan")])]}, [1.0], n_tokens=2)
    with pytest.raises(InputError, match="are not all above 0"):
        feature_details(0, 2, {}, [1.0, 0.0], n_tokens=2)
    with pytest.raises(InputError, match="active at 2 tokens, but there are 1"):
        feature_details(0, 2, {}, [1.0, 2.0], n_tokens=1)
