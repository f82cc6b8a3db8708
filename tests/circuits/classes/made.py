"""Class circuits of a small network, and its transcoders."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from cellglass.cells.cells import Cells
from cellglass.circuits.classes.circuit import ClassCircuit
from cellglass.circuits.classes.making import class_circuit
from cellglass.circuits.transcoders import Transcoders, fingerprint_of
from circuits.models import cells_of, model_of, transcoders_of

ASKED = {"labels": "type", "against": "T cell", "n_cells": 4, "features": 40, "nodes": 12, "genes": 5}


@cache
def transcoders(kind: str = "gpt_neox") -> Transcoders:
    model, given = model_of(kind), tuple(transcoders_of(kind))
    return Transcoders(model.kind, fingerprint_of(model), len(given), given, labels="type")


@cache
def donor_cells() -> Cells:
    """Twelve cells of three donors, each with both types."""
    cells = cells_of(12)
    cells.obs["donor"] = np.array(["d2", "d0", "d1"])[np.arange(12) // 2 % 3]
    return cells


def made(**more: Any) -> ClassCircuit:
    return class_circuit(model_of("gpt_neox"), donor_cells(), "B cell", transcoders(), **{**ASKED, **more})


@cache
def circuit(batch: str | None = None) -> ClassCircuit:
    return made(batch=batch)
