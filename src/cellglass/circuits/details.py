"""What features fire on, in the files that Neuronpedia and circuit-tracer's page open for a feature of a graph.

    FOLDER/NUMBER.json    {transcoder_id, index, examples_quantiles, top_logits, bottom_logits, act_min, act_max,
                           quantile_values, histogram, activation_frequency}

NUMBER is that of the feature's node in the graph (`cellglass.circuits.neuronpedia.feature_number`). The page asks for
it under the address that the graph's metadata name (``feature_json_base_url``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellglass.circuits.neuronpedia import feature_number
from cellglass.errors import InputError
from cellglass.files import atomic_path

Array = np.ndarray[Any, Any]

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_BINS = 32


class Example(NamedTuple):
    """One cell as the model reads it, and how active a feature is at each token.

    Attributes
    ----------
    tokens : sequence of str
    activations : sequence of float
    """

    tokens: Sequence[str]
    activations: Sequence[float]


def feature_details(
    layer: int,
    feature: int,
    examples: Mapping[str, Sequence[Example]],
    activations: Sequence[float] | Array,
    *,
    n_tokens: int,
    transcoder: str = "",
    top: Sequence[str] = (),
    bottom: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what is told of one feature.

    Parameters
    ----------
    layer, feature
    examples
        Cells by the name of their group, such as ``"Top activations"``, in the order in which they are shown.
    activations
        All that are above 0, or a sample of them.
    n_tokens
        Of how many tokens these are the active ones.
    transcoder
        Name of the transcoder.
    top, bottom
        Tokens or genes that the feature makes most and least likely.

    Returns
    -------
    dict
        The histogram has 32 bins from ``act_min`` to ``act_max``; its shares add up to 1. ``quantile_values`` are at 0,
        0.25, 0.5, 0.75, 0.9, 0.95, 0.99 and 1.

    Raises
    ------
    InputError
        An example with another number of tokens than of activations, or activations that are none.
    """
    name = f"feature {feature} of layer {layer}"
    values = np.asarray(activations, dtype=np.float64).ravel()
    if not np.isfinite(values).all() or (values <= 0).any():
        raise InputError(f"the activations of {name} are not all above 0; leave out tokens at which it is not active")
    if n_tokens < len(values):
        raise InputError(f"{name} is active at {len(values)} tokens, but there are {n_tokens}; give the number of all")
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    counts = np.histogram(values, _BINS, (low, high if high > low else low + 1))[0]
    return {
        "transcoder_id": transcoder,
        "index": feature_number(layer, feature),
        "examples_quantiles": [
            {"quantile_name": str(group), "examples": [_example(one, name) for one in some]}
            for group, some in examples.items()
        ],
        "top_logits": [str(text) for text in top],
        "bottom_logits": [str(text) for text in bottom],
        "act_min": low,
        "act_max": high,
        "quantile_values": np.quantile(values, QUANTILES).tolist() if len(values) else [0.0] * len(QUANTILES),
        "histogram": (counts / max(1, len(values))).tolist(),
        "activation_frequency": len(values) / n_tokens if n_tokens else 0.0,
    }


def write_feature_details(details: dict[str, Any], folder: Path | str) -> Path:
    """Write what `feature_details` gives; return the path of its file."""
    path = Path(folder) / f"{int(details['index'])}.json"
    content = json.dumps(details, allow_nan=False, separators=(",", ":"))
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode("ascii") + b"\n")
    return path


def _example(one: Example, name: str) -> dict[str, Any]:
    values = [float(value) for value in one.activations]
    if len(values) != len(one.tokens) or not values:
        raise InputError(
            f"an example of {name} has {len(one.tokens)} tokens and {len(values)} activations; give one for each token"
        )
    if not np.isfinite(values).all():
        raise InputError(f"an example of {name} has activations that are no finite numbers")
    return {
        "tokens_acts_list": values,
        "train_token_ind": int(np.argmax(values)),
        "is_repeated_datapoint": False,
        "tokens": [str(text) for text in one.tokens],
    }
