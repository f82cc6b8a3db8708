"""The residual stream alone: what a state of one token is the sum of, and gradients along it past attention and MLPs.

    state at a token = sum over what tokens bring, heads, features, errors, skip connections and biases

each as the norms on the stream left it, with their scales frozen. A head's part holds its bias of values; the bias of
the output is a part of its own. Knows neither models nor genes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch

from cellglass.circuits.features import Replacement
from cellglass.circuits.linear_map import Attend, Frozen, Mlp, Norm, Rescale, Step, through
from cellglass.errors import InputError

Tensor = torch.Tensor


@dataclass(frozen=True)
class Parts:
    """What one state at one token is the sum of.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a part: ``kind`` (token, head, feature, error, skip, mlp or bias), ``layer`` that it comes from (-1 of
        tokens and of norms on the stream), ``head``, ``feature`` (-1 of others), ``label``. A feature that writes to
        several layers has a row for each.
    vectors : torch.Tensor, (n, d)
        They add up to the state.
    """

    table: pd.DataFrame
    vectors: Tensor

    def with_bias(self, label: str) -> pd.DataFrame:
        """Return the table with one more row, of a bias that what reads the state adds."""
        return pd.concat([self.table, _table([_row("bias", label=label)])], ignore_index=True)


def stream_parts(frozen: Frozen, replacement: Replacement | None, state: int, token: int) -> Parts:
    """Return what a state of the stream is the sum of at one token.

    Parameters
    ----------
    frozen
        The transformer on one input.
    replacement
        What stands in the place of its MLPs; None leaves what each MLP writes whole, of kind ``mlp``.
    state
        Which one: state i is before step i.
    token
        Which token.

    Raises
    ------
    InputError
        A token or a state that is not there.
    """
    if not 0 <= token < frozen.n_tokens:
        raise InputError(f"there is no token {token}; the input has tokens 0 to {frozen.n_tokens - 1}")
    if not 0 <= state <= len(frozen.steps):
        raise InputError(f"there is no state {state}; the stream has states 0 to {len(frozen.steps)}")
    rows = [_row("bias" if name in frozen.constant else "token", label=name) for name in frozen.parts]
    vectors = torch.stack([part[token] for part in frozen.parts.values()])
    for step, x in zip(frozen.steps[:state], frozen.states(frozen.first, frozen.mlp_out), strict=False):
        if isinstance(step, Rescale):
            vectors = at(step.norm, token).linear(vectors)
            if step.norm.bias is not None:
                rows.append(_row("bias", label="norm"))
                vectors = torch.cat([vectors, step.norm.bias[None]])
            continue
        more, added = _heads(step, x, token) if isinstance(step, Attend) else _mlp(frozen, replacement, step, token)
        rows += more
        vectors = torch.cat([vectors, added])
    return Parts(_table(rows), vectors)


def down(frozen: Frozen, g: Tensor, state: int) -> Iterator[tuple[int, Step, Tensor]]:
    """Yield, from a state back to the first, each step and the gradient with respect to the state behind it.

    Parameters
    ----------
    g : torch.Tensor, (t, B, d)
        With respect to the state; nothing of it passes attention or MLPs. What a step adds is met by the same gradient
        as the state behind it.
    """
    for i in range(state - 1, -1, -1):
        step = frozen.steps[i]
        yield i, step, g
        if isinstance(step, Rescale):
            g = step.norm.back(g)


def at(norm: Norm, token: int) -> Norm:
    """Return a norm with its scale at one token, for any number of rows."""
    return replace(norm, scale=norm.scale[token : token + 1])


def _heads(step: Attend, x: Tensor, token: int) -> tuple[list[dict[str, Any]], Tensor]:
    heads = step.heads
    read = torch.einsum("hs,hsc->hc", heads.pattern[:, token], heads.values(through(step.before, x)))
    added = torch.einsum("hc,hcd->hd", read, heads.output.reshape(heads.n_heads, -1, heads.output.shape[1]))
    rows = [_row("head", step.layer, head=head) for head in range(heads.n_heads)]
    if heads.output_bias is not None:
        rows.append(_row("bias", step.layer, label="attention"))
        added = torch.cat([added, heads.output_bias[None]])
    if step.after is not None:
        added = at(step.after, token).linear(added)
        if step.after.bias is not None:
            rows.append(_row("bias", step.layer, label="norm"))
            added = torch.cat([added, step.after.bias[None]])
    return rows, added


def _mlp(frozen: Frozen, replacement: Replacement | None, step: Mlp, token: int) -> tuple[list[dict[str, Any]], Tensor]:
    layer = step.layer
    if replacement is None:
        return [_row("mlp", layer)], frozen.mlp_out[layer][token][None]
    rows, added = [], []
    for source, features in enumerate(replacement.features[: layer + 1]):
        if layer not in features.write:
            continue
        on = features.value[token] > 0
        latent = features.latent[token][on]
        rows += [_row("feature", source, feature=int(one)) for one in latent]
        added.append(features.value[token][on][:, None] * features.write[layer][latent])
    rows += [_row("error", layer), _row("bias", layer, label="mlp")]
    added += [replacement.error[layer][token][None], replacement.constant[layer][None]]
    skip = replacement.skip[layer]
    if skip is not None:
        rows.append(_row("skip", layer))
        added.append((frozen.mlp_in[layer][token] @ skip)[None])
    return rows, torch.cat(added)


def _row(kind: str, layer: int = -1, *, head: int = -1, feature: int = -1, label: str = "") -> dict[str, Any]:
    return {"kind": kind, "layer": layer, "head": head, "feature": feature, "label": label}


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["kind", "layer", "head", "feature", "label"])
