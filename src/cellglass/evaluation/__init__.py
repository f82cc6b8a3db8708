"""How good concepts are: fidelity, alignment with labels, probes, stability and recovery of planted truth.

    Metric, over_seeds              one record of ``evaluation.json``; records of several seeds become one
    evaluate                        every record for a set of dictionaries over one site
    agreement                       best partners and one-to-one pairs of the latents of two dictionaries
    cosines, correlations           what they are matched by: decoder directions, activations over the same cells
    label_of_concepts               the label value that each concept marks best
    probe_curve                     how much of a label is read from the best k latents
    loss_kept                       how much of the model's own loss a reconstruction keeps
    find_direction                  the direction of a label at a site (a concept activation vector)
    feature_meanings                what each feature of transcoders fires on, and whether that is a meaning
    interpretable_rate              how many have one, beside random directions, neurons and an untrained model
    explain_features                both, written beside the transcoders

Each name is imported when it is first used. Knows nothing of the web.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellglass.evaluation.alignment import label_of_concepts
    from cellglass.evaluation.cav import find_direction
    from cellglass.evaluation.coactivation import correlations
    from cellglass.evaluation.feature_meaning import Meanings, Rule
    from cellglass.evaluation.feature_rate import explain_features, feature_meanings, interpretable_rate
    from cellglass.evaluation.loss_kept import loss_kept
    from cellglass.evaluation.matching import agreement, cosines
    from cellglass.evaluation.metric import Metric, over_seeds
    from cellglass.evaluation.probe_curve import probe_curve
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
    "find_direction": "cellglass.evaluation.cav",
    "interpretable_rate": "cellglass.evaluation.feature_rate",
    "label_of_concepts": "cellglass.evaluation.alignment",
    "loss_kept": "cellglass.evaluation.loss_kept",
    "over_seeds": "cellglass.evaluation.metric",
    "probe_curve": "cellglass.evaluation.probe_curve",
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
    "find_direction",
    "interpretable_rate",
    "label_of_concepts",
    "loss_kept",
    "over_seeds",
    "probe_curve",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'cellglass.evaluation' has no attribute {name!r}")
