"""SAELens's side of the exchange: loads what cellglass wrote, and trains, draws and saves dictionaries of its own."""

from __future__ import annotations

from pathlib import Path

import torch
from answers import Answer, Desk, main
from sae_lens import SAE
from sae_lens.registry import SAE_CLASS_REGISTRY, get_sae_training_class
from sae_lens.saes.sae import TrainStepInput

M, K = 96, 6
TRAINED = {
    "standard": {"l1_coefficient": 0.3},
    "topk": {"k": K},
    "batchtopk": {"k": K},
    "matryoshka_batchtopk": {"k": K, "matryoshka_widths": [24, M]},
    "jumprelu": {"l0_coefficient": 0.02, "jumprelu_init_threshold": 0.05},
    "gated": {"l1_coefficient": 0.3},
}
DRAWN = {
    "standard, nothing taken off the input": ("standard", {"apply_b_dec_to_input": False}),
    "topk, nothing taken off the input": ("topk", {"k": K, "apply_b_dec_to_input": False}),
    "topk, selected by decoder norms": ("topk", {"k": K, "rescale_acts_by_decoder_norm": True}),
    "jumprelu": ("jumprelu", {}),
    "gated, nothing taken off the input": ("gated", {"apply_b_dec_to_input": False}),
    "transcoder": ("transcoder", {"d_out": 20, "apply_b_dec_to_input": False}),
    "skip_transcoder": ("skip_transcoder", {"d_out": 20, "apply_b_dec_to_input": False}),
    "jumprelu_transcoder": ("jumprelu_transcoder", {"d_out": 20, "apply_b_dec_to_input": False}),
    "jumprelu_skip_transcoder": ("jumprelu_skip_transcoder", {"d_out": 20, "apply_b_dec_to_input": False}),
}


def work(desk: Desk) -> None:
    """Answer for all of cellglass's dictionaries, then for all of SAELens's."""
    for folder in desk.ours():
        desk.answer(folder, computed(folder, desk.x))
    for name, options in TRAINED.items():
        folder = desk.theirs(f"{name}, trained")
        trained = train(name, options, desk.x)
        trained.save_inference_model(folder)
        desk.answer(folder, computed(folder, desk.x))
        if name == "batchtopk":
            checkpoint = desk.theirs(f"{name}, checkpoint of a training")
            trained.save_model(checkpoint)
            desk.answer(checkpoint, computed(folder, desk.x))
    for name, (architecture, options) in DRAWN.items():
        folder = desk.theirs(f"{name}, drawn")
        draw(architecture, options, desk.x.shape[1]).save_model(folder)
        desk.answer(folder, computed(folder, desk.x))


@torch.no_grad()
def computed(folder: Path, x: torch.Tensor) -> Answer:
    """Return feature activations and outputs of a saved dictionary, by SAELens's own loader."""
    sae = SAE.load_from_disk(folder)
    return sae.encode(x), sae(x)


def train(architecture: str, options: dict, x: torch.Tensor, steps: int = 150):
    """Train a dictionary on `x` with SAELens's own losses."""
    sae_class, config_class = get_sae_training_class(architecture)
    sae = sae_class(config_class(d_in=x.shape[1], d_sae=M, **options))
    sae.b_dec.data = x.mean(0)
    optimiser = torch.optim.Adam(sae.parameters(), lr=5e-3)
    weights = {name: getattr(value, "value", value) for name, value in sae.get_coefficients().items()}
    for step in range(steps):
        rows = x[torch.randint(len(x), (256,))]
        output = sae.training_forward_pass(TrainStepInput(rows, weights, None, step, False))
        optimiser.zero_grad()
        output.loss.backward()
        optimiser.step()
    return sae


def draw(architecture: str, options: dict, d: int):
    """Return a dictionary with random weights of a useful size."""
    sae_class, config_class = SAE_CLASS_REGISTRY[architecture]
    sae = sae_class(config_class(d_in=d, d_sae=M, **options))
    for name, weight in sae.named_parameters():
        size = {"threshold": 0.5, "r_mag": 0.2, "W_enc": d**-0.5, "W_dec": d**-0.5, "W_skip": d**-0.5}.get(name, 0.5)
        weight.data = torch.randn(weight.shape) * size
    return sae


if __name__ == "__main__":
    main(work)
