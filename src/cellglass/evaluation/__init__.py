"""How good concepts are: fidelity, alignment with labels, probes, stability and recovery of planted truth.

    Metric, over_seeds              one record of ``evaluation.json``; records of several seeds become one
    evaluate                        every record for a set of dictionaries over one site
    agreement                       best partners and one-to-one pairs of the latents of two dictionaries
    cosines, correlations           what they are matched by: decoder directions, activations over the same cells
    label_of_concepts               the label value that each concept marks best
    feature_meanings                what each feature of transcoders fires on, and whether that is a meaning
    interpretable_rate              how many have one, beside random directions, neurons and an untrained model
    explain_features                both, written beside the transcoders

Each name is imported when it is first used. Knows nothing of the web.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellglass.evaluation.alignment import label_of_concepts
    from cellglass.evaluation.coactivation import correlations
    from cellglass.evaluation.feature_meaning import Meanings, Rule
    from cellglass.evaluation.feature_rate import explain_features, feature_meanings, interpretable_rate
    from cellglass.evaluation.matching import agreement, cosines
    from cellglass.evaluation.metric import Metric, over_seeds
    from cellglass.evaluation.run import evaluate

_WHERE = {
    "Meanings": "cellglass.evaluation.feature_meaning",
    "Metric": "cellglass.evaluation.metric",
    "Rule": "cellglass.evaluation.feature_meaning",
    "agreement": "cellglass.evaluation.matching",
    "correlations": "cellglass.evaluation.coactivation",
    "cosines": "cellglass.evaluation.matching",
    "evaluate": "cellglass.evaluation.run",
    "explain_features": "cellglass.evaluation.feature_rate",
    "feature_meanings": "cellglass.evaluation.feature_rate",
    "interpretable_rate": "cellglass.evaluation.feature_rate",
    "label_of_concepts": "cellglass.evaluation.alignment",
    "over_seeds": "cellglass.evaluation.metric",
}

__all__ = [
    "Meanings",
    "Metric",
    "Rule",
    "agreement",
    "correlations",
    "cosines",
    "evaluate",
    "explain_features",
    "feature_meanings",
    "interpretable_rate",
    "label_of_concepts",
    "over_seeds",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'cellglass.evaluation' has no attribute {name!r}")
