"""circuit-tracer's side of the exchange: loads transcoder sets that cellglass wrote, as its own models would.

A case is a set of several layers; layer l reads x rolled by l rows, so that no two layers read the same. The answers
hold the layers side by side, and how many features there are in a graph of a small random model with these
transcoders in the place of its MLPs.
"""

from __future__ import annotations

from pathlib import Path

import torch
from answers import Answer, Desk, main
from circuit_tracer import ReplacementModel, attribute
from circuit_tracer.utils.hf_utils import load_transcoder_from_hub
from transformer_lens import HookedTransformerConfig


def work(desk: Desk) -> None:
    """Answer for all of cellglass's transcoders."""
    for folder in desk.ours():
        for lazy in (False, True):
            name = folder.parent / f"{folder.name}, lazily" if lazy else folder
            desk.answer(name, computed(folder, desk.x, lazy), features=torch.tensor(features_of_a_graph(folder, lazy)))


class Tokens:
    """As much of a tokenizer as an attribution of given tokens asks for."""

    all_special_ids = (1,)
    padding_side = "right"
    vocab_size = 50

    def decode(self, token: object) -> str:
        """Return a name for a token."""
        return str(token)


def load(folder: Path, lazy: bool):
    """Return the set, found by the path of its folder."""
    path, cpu = str(folder.resolve()), torch.device("cpu")
    return load_transcoder_from_hub(path, device=cpu, lazy_encoder=lazy, lazy_decoder=lazy)[0]


def features_of_a_graph(folder: Path, lazy: bool) -> int:
    """Attribute the next token of a small random model and return how many features its graph has."""
    transcoders = load(folder, lazy)
    config = HookedTransformerConfig(
        n_layers=transcoders.n_layers,
        d_model=transcoders.b_dec.shape[1] if hasattr(transcoders, "b_dec") else transcoders[0].d_model,
        n_ctx=8,
        d_head=8,
        n_heads=2,
        d_mlp=16,
        d_vocab=Tokens.vocab_size,
        act_fn="gelu",
        normalization_type="LN",
        device="cpu",
        model_name="random",
        seed=0,
    )
    model = ReplacementModel.from_config(config, transcoders)
    model.tokenizer = Tokens()
    graph = attribute(torch.tensor([1, 5, 7, 3]), model, max_n_logits=3, batch_size=64)
    if not bool(graph.adjacency_matrix.isfinite().all()):
        raise SystemExit(f"{folder.name}: the graph holds values that are not finite")
    return len(graph.active_features)


@torch.no_grad()
def computed(folder: Path, x: torch.Tensor, lazy: bool) -> Answer:
    """Return features and outputs of a saved set."""
    transcoders = load(folder, lazy)
    inputs = torch.stack([x.roll(layer, 0) for layer in range(transcoders.n_layers)])
    codes = transcoders.encode(inputs)
    out = transcoders.decode(codes, inputs)
    parts = transcoders.compute_attribution_components(inputs, zero_positions=slice(0, 0))
    for name, value in (("activation_matrix", codes), ("reconstruction", out)):
        apart = float((parts[name].to_dense() - value).abs().max())
        if apart > 1e-5:
            raise SystemExit(f"{folder.name}: {name} of the attribution is {apart} from what encode and decode give")
    return codes.transpose(0, 1).flatten(1), out.transpose(0, 1).flatten(1)


if __name__ == "__main__":
    main(work)
