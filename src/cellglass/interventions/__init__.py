"""Interventions: concepts set, scaled, added or ablated at their site, and what the model then says of genes.

    edit, intervene      edits of concepts that keep what the dictionary does not explain
    contrast_of, fewest   what turns some cells into others, and the fewest concepts that carry it
    predicted, scored    moved activations decoded to genes, beside controls, and their agreement with what is real

Each name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.interventions.apply import real_change
    from cellglass.interventions.contrast import Contrast, average, carried, contrast_of, fewest
    from cellglass.interventions.edits import Edit, change, edit, intervene
    from cellglass.interventions.run import (
        DOSES,
        Halves,
        Subject,
        genes_table,
        halves,
        predicted,
        scored,
        with_expression,
    )

__all__ = [
    "DOSES",
    "Contrast",
    "Edit",
    "Halves",
    "Subject",
    "average",
    "carried",
    "change",
    "contrast_of",
    "edit",
    "fewest",
    "genes_table",
    "halves",
    "intervene",
    "predicted",
    "real_change",
    "scored",
    "with_expression",
]

_WHERE = {
    "DOSES": "cellglass.interventions.run",
    "Contrast": "cellglass.interventions.contrast",
    "Edit": "cellglass.interventions.edits",
    "Halves": "cellglass.interventions.run",
    "Subject": "cellglass.interventions.run",
    "average": "cellglass.interventions.contrast",
    "carried": "cellglass.interventions.contrast",
    "change": "cellglass.interventions.edits",
    "contrast_of": "cellglass.interventions.contrast",
    "edit": "cellglass.interventions.edits",
    "fewest": "cellglass.interventions.contrast",
    "genes_table": "cellglass.interventions.run",
    "halves": "cellglass.interventions.run",
    "intervene": "cellglass.interventions.edits",
    "predicted": "cellglass.interventions.run",
    "real_change": "cellglass.interventions.apply",
    "scored": "cellglass.interventions.run",
    "with_expression": "cellglass.interventions.run",
}
__getattr__, __dir__ = lazily(__name__, _WHERE)
