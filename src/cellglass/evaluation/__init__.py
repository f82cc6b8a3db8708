"""How good concepts are: fidelity, alignment with labels, probes, stability and recovery of planted truth.

    Metric, over_seeds              one record of ``evaluation.json``; records of several seeds become one
    evaluate                        every record for a set of dictionaries over one site
    agreement                       best partners and one-to-one pairs of the latents of two dictionaries
    cosines, correlations           what they are matched by: decoder directions, activations over the same cells
    label_of_concepts               the label value that each concept marks best

Each name is imported when it is first used. Knows nothing of the web.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellglass.evaluation.alignment import label_of_concepts
    from cellglass.evaluation.coactivation import correlations
    from cellglass.evaluation.matching import agreement, cosines
    from cellglass.evaluation.metric import Metric, over_seeds
    from cellglass.evaluation.run import evaluate

_WHERE = {
    "Metric": "cellglass.evaluation.metric",
    "agreement": "cellglass.evaluation.matching",
    "correlations": "cellglass.evaluation.coactivation",
    "cosines": "cellglass.evaluation.matching",
    "evaluate": "cellglass.evaluation.run",
    "label_of_concepts": "cellglass.evaluation.alignment",
    "over_seeds": "cellglass.evaluation.metric",
}

__all__ = ["Metric", "agreement", "correlations", "cosines", "evaluate", "label_of_concepts", "over_seeds"]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'cellglass.evaluation' has no attribute {name!r}")
