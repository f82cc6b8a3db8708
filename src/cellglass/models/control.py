"""A model as its own control: the same network with weights that know nothing.

What concepts of such a model have too (variance explained, stability, enrichment of differential expression) says
nothing of what the trained one has learned.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch

from cellglass.errors import InputError
from cellglass.seeds import derive

if TYPE_CHECKING:
    from cellglass.models.base import CellModel

_SD = 0.02


def control_of(model: CellModel, how: str, seed: int = 0) -> CellModel:
    """Return a copy of `model` whose weights are drawn anew, or permuted.

    Parameters
    ----------
    model : CellModel
        It stays as it is.
    how : {"untrained", "shuffled"}
        ``untrained``: each layer as its network begins training. ``shuffled``: the numbers of each tensor in random
        order, so that their distribution stays.
    seed : int

    Raises
    ------
    InputError
        If the model has no weights, such as an embedding.
    """
    from cellglass.models.scvi.model import ScviModel

    seed = derive(seed, "control", how)
    if isinstance(model, ScviModel):
        return ScviModel(model.cfg, _scvi(model, how, seed), model.gene_table, model.covariates, model.dtype)
    if not isinstance(getattr(model, "net", None), torch.nn.Module):
        raise InputError(f"the {model.kind} model has no weights, so there is no {how} control of it; leave it out")
    copy = deepcopy(model)
    net: torch.nn.Module = copy.net  # type: ignore[attr-defined]  # looked for above
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if how == "shuffled":
            for parameter in net.parameters():
                parameter.copy_(_shuffled(parameter))
        else:
            _begin(net)
    return copy


def _scvi(model: Any, how: str, seed: int) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if how == "shuffled":
            return {name: _shuffled(x) if x.is_floating_point() else x for name, x in model.tensors.items()}
        from cellglass.models.scvi.training import new_module

        fresh = new_module(model.cfg).state_dict()
        return {name: fresh.get(name, x).detach().to("cpu", x.dtype) for name, x in model.tensors.items()}


def _shuffled(tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.detach().flatten()
    return flat[torch.randperm(len(flat)).to(flat.device)].view_as(tensor)


def _begin(net: torch.nn.Module) -> None:
    """Set each layer as it begins: by its own rule, or weights N(0, 0.02), scales of norms 1, biases 0."""
    done: set[int] = set()
    for module in net.modules():
        reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
        if callable(reset):
            reset()
            done |= {id(parameter) for parameter in module.parameters(recurse=False)}
    for name, parameter in net.named_parameters():
        if id(parameter) in done:
            continue
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0.0, _SD)
        else:
            torch.nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
