"""Parts of the stream add up to its states, and each is what it is named."""

from __future__ import annotations

import pytest
import torch

from cellglass.circuits.features import replace_mlps
from cellglass.circuits.linear_map import Attend, Mlp
from cellglass.circuits.stream import down, stream_parts
from cellglass.errors import InputError
from circuits.networks import LAYERS, NETS, TOKENS, WIDTH, frozen, transcoders

EXACT = {"rtol": 1e-9, "atol": 1e-9}


@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize("skip", [None, False, True])
def test_parts_add_up_to_every_state(name: str, skip: bool | None) -> None:
    made = frozen(name)
    replacement = None if skip is None else replace_mlps(made, transcoders(made, skip=skip))
    for i, state in enumerate(made.states(made.first, made.mlp_out)):
        for token in (0, TOKENS - 1):
            parts = stream_parts(made, replacement, i, token)
            assert len(parts.table) == len(parts.vectors)
            torch.testing.assert_close(parts.vectors.sum(0), state[token], **EXACT)


def test_parts_are_what_they_are_named() -> None:
    made = frozen("gpt_neox, sequential")
    replacement = replace_mlps(made, transcoders(made))
    parts = stream_parts(made, replacement, 2 * LAYERS, 4)
    vectors = {kind: parts.vectors[list(rows)] for kind, rows in parts.table.groupby("kind").groups.items()}
    features = replacement.features[1]
    of = parts.table[parts.table["layer"] == 1]
    row = of.index[of["feature"] == int(features.latent[4, 0])][0]
    torch.testing.assert_close(parts.vectors[row], features.value[4, 0] * features.write[1][features.latent[4, 0]])
    states = list(made.states(made.first, made.mlp_out))
    heads = [
        step.heads.by_head(step.before(state))[:, 4]
        for step, state in zip(made.steps, states, strict=False)
        if isinstance(step, Attend)
    ]
    torch.testing.assert_close(vectors["head"], torch.cat(heads))
    torch.testing.assert_close(vectors["error"], torch.stack([error[4] for error in replacement.error]))
    torch.testing.assert_close(vectors["token"], made.first[4][None])


def test_what_is_the_same_for_all_tokens_is_a_bias() -> None:
    table = stream_parts(frozen("bert"), None, 1, 3).table
    assert table["kind"].tolist() == ["token", "bias", "bias", "bias"]
    assert table["label"].tolist() == ["token", "position", "type", "norm"]


@pytest.mark.parametrize("name", ["bert", "scgpt", "gpt_neox"])
def test_gradients_along_the_stream_are_those_of_what_is_added_to_it(name: str) -> None:
    made = frozen(name)
    g = torch.randn(TOKENS, 2, WIDTH, dtype=torch.float64)
    for i, step, behind in down(made, g, len(made.steps)):
        if isinstance(step, Attend | Mlp):
            x = torch.randn(TOKENS, WIDTH, dtype=torch.float64)
            last = torch.zeros_like(x)
            moved = x.clone()
            for later in made.steps[i + 1 :]:
                if not isinstance(later, Attend | Mlp):
                    moved, last = later.norm(moved), later.norm(last)
            torch.testing.assert_close(torch.einsum("td,tbd->b", x, behind), torch.einsum("td,tbd->b", moved - last, g))


def test_what_is_not_there_is_refused() -> None:
    made = frozen("gpt_neox")
    with pytest.raises(InputError, match="there is no token 13; the input has tokens 0 to 12"):
        stream_parts(made, None, 1, TOKENS)
    with pytest.raises(InputError, match="there is no state 8; the stream has states 0 to 7"):
        stream_parts(made, None, 8, 0)
