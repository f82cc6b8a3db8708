"""How far SAELens, sparsify and circuit-tracer are from cellglass on one and the same dictionary, in both directions.

Dictionaries of every kind that a format holds are written by cellglass and loaded by the library itself; dictionaries
that the library trained or drew and saved are loaded by cellglass. A row is the largest absolute difference of the
activations, or of the reconstructions, over all rows of inputs. Where two latents of a row are tied at the k-th place,
or one lies at its threshold, closer than `MARGIN`, rounding decides which is active, in any library: such rows are left
out and counted. The libraries run by their own interpreters; see environments.py.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import environments
import torch
from common import Row, main
from safetensors.torch import load_file, save_file

from cellglass import dictionaries
from cellglass.dictionaries import exchange
from cellglass.dictionaries.exchange.plain import exchangeable, fold
from cellglass.dictionaries.kinds.crosslayer import CrossLayerConfig, CrossLayerTranscoder
from cellglass.dictionaries.sparse import SparseDictionary
from cellglass.threads import threads

# Dense codes, reconstructions, and which rows are compared.
Answer = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
HERE = Path(__file__).resolve().parent
MARGIN = 2e-5
D, M, K = 32, 96, 6
CONFIGS = {
    "matryoshka": {"prefixes": (24, M), "prefix_k": (2, K)},
    "matryoshka_batchtopk": {"prefixes": (24, M)},
    "archetypal": {"n_points": 128},
}
READERS = {"saelens": exchange.read_saelens, "sparsify": exchange.read_sparsify}
WRITERS = {"saelens": exchange.write_saelens, "sparsify": exchange.write_sparsify}
SELECTIONS = {kind: dictionaries.KINDS[kind].selection for kind in exchangeable()}
TRANSCODERS = [kind for kind in SELECTIONS if dictionaries.KINDS[kind].learn is None]
"""Kinds that may write another site than they read."""
CASES = {
    "saelens": [(kind, None, False) for kind in SELECTIONS]
    + [(kind, 20, skip) for kind in TRANSCODERS if SELECTIONS[kind] == "threshold" for skip in (False, True)],
    "sparsify": [
        (kind, d_out, skip)
        for kind in SELECTIONS
        if SELECTIONS[kind] == "topk"
        for d_out, skip in ((None, False), (D, False), (D, True))
    ],
    "circuit_tracer": [
        (kind, D, skip) for kind in TRANSCODERS if SELECTIONS[kind] == "threshold" for skip in (False, True)
    ],
}
LAYERS = 3
TRAINING = dictionaries.TrainConfig(steps=200, threads=1, device="cpu")


def run(quick: bool) -> Iterator[Row]:
    """Compare with each library in turn."""
    with threads(1):
        for library in CASES:
            yield from compare(library, 500 if quick else 4000)


def compare(library: str, n: int) -> Iterator[Row]:
    """Let a library and cellglass answer for each other's dictionaries, on `n` rows."""
    package = environments.RECIPES[library].package
    interpreter = environments.ensure(library)
    x = inputs(n)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        save_file({"x": x}, root / "x.safetensors")
        ours = write_cases(library, root / "ours", x)
        ask(interpreter, library, root)
        for case, (codes, out, clear) in ours.items():
            yield from differences(f"{package} reads {case}", package, root / "ours" / case, codes, out, clear)
        for folder in sorted(p for p in (root / "theirs").glob("*") if p.is_dir()):
            dictionary = READERS[library](folder)
            name = f"{package} wrote {folder.name}"
            yield from differences(name, package, folder, *answer(dictionary, x))


def inputs(n: int) -> torch.Tensor:
    """Return rows that are sums of 6 of 96 directions around a centre far from 0."""
    noise = torch.Generator().manual_seed(1)
    directions = torch.nn.functional.normalize(torch.randn(M, D, generator=noise), dim=1)
    chosen = torch.rand(n, M, generator=noise).topk(K, dim=1).indices
    codes = torch.zeros(n, M).scatter(1, chosen, 1 + torch.rand(n, K, generator=noise))
    return codes @ directions + 2 + 0.1 * torch.randn(n, D, generator=noise)


def target(x: torch.Tensor, d_out: int) -> torch.Tensor:
    """Return what transcoders learn to write."""
    return 3 * torch.tanh(x @ torch.randn(x.shape[1], d_out, generator=torch.Generator().manual_seed(2)) / 6) - 1


def draw(kind: str, d_out: int | None, skip: bool, seed: int) -> SparseDictionary:
    """Return a dictionary with random weights whose statistics fit `inputs`."""
    cls = dictionaries.KINDS[kind].cls
    dictionary = cls(cls.config_class(D, M, d_out=d_out, skip=skip, k=K, **CONFIGS.get(kind, {})))
    noise = torch.Generator().manual_seed(seed)
    sizes = {
        "encoder": D**-0.5,
        "decoder": D**-0.5,
        "skip": D**-0.5,
        "log_magnitude": 0.2,
        "encoder_bias": 0.3,
        "bias": 0.3,
    }
    weights = {
        name: sizes.get(name, 1.0) * torch.randn(value.shape, generator=noise)
        for name, value in dictionary.state_dict().items()
    }
    weights["centre"] = 2 + 0.2 * weights["centre"]
    weights["scale"] = torch.tensor(0.7)
    if d_out is not None:
        weights["scale_out"] = torch.tensor(1.6)
    if "threshold" in weights:
        weights["threshold"] = weights["threshold"].abs() + 0.5
    dictionary.load_state_dict(weights)
    return dictionary.freeze()


def write_cases(library: str, folder: Path, x: torch.Tensor) -> dict[str, Answer]:
    """Write a dictionary of each kind, and return what cellglass computes with it, by the name of the case."""
    folder.mkdir()
    found: dict[str, Answer] = {}
    for kind, d_out, skip in CASES[library]:
        case = kind + (" autoencoder" if d_out is None else " transcoder") + (" with a skip connection" if skip else "")
        if library == "circuit_tracer":
            found[case] = write_layers([draw(kind, d_out, skip, seed) for seed in range(LAYERS)], folder / case, x)
            continue
        drawn = {case: draw(kind, d_out, skip, 0)}
        y = None if d_out is None else target(x, d_out)
        drawn[f"{case}, trained"] = dictionaries.fit(kind, x, config=drawn[case].config, training=TRAINING, target=y)
        for name, dictionary in drawn.items():
            WRITERS[library](dictionary, folder / name)
            found[name] = answer(dictionary, x)
    if library == "circuit_tracer":
        found["cross-layer transcoder"] = write_cross_layer(folder / "cross-layer transcoder", x)
        found |= {f"{case}, lazily": value for case, value in found.items()}
    return found


def write_layers(layers: list[SparseDictionary], folder: Path, x: torch.Tensor) -> Answer:
    """Write a transcoder for each layer; return their answers side by side. Layer l reads x rolled by l rows."""
    exchange.write_circuit_tracer(layers, folder, model_name="random")
    answers = [answer(one, x.roll(layer, 0)) for layer, one in enumerate(layers)]
    codes, out = (torch.cat([a[i] for a in answers], 1) for i in (0, 1))
    return codes, out, torch.stack([a[2] for a in answers]).all(0)


@torch.no_grad()
def write_cross_layer(folder: Path, x: torch.Tensor) -> Answer:
    """Write a cross-layer transcoder with thresholds that fit, and return what it computes with them."""
    transcoder = CrossLayerTranscoder(CrossLayerConfig(LAYERS * D, LAYERS * M, K, LAYERS, d_out=LAYERS * D))
    noise = torch.Generator().manual_seed(0)
    sizes = {"encoder": D**-0.5, **{f"decoder_{layer}": (LAYERS * D) ** -0.5 for layer in range(LAYERS)}}
    weights = {
        name: sizes.get(name, 0.3) * torch.randn(value.shape, generator=noise)
        for name, value in transcoder.state_dict().items()
    }
    weights["centre"] += 2
    for name, root in (("scale", 0.7), ("scale_out", 1.6)):
        weights[name] = (root + 0.1 * torch.arange(LAYERS)).repeat_interleave(D)
    transcoder.load_state_dict(weights)
    transcoder.freeze()
    side_by_side = torch.cat([x.roll(layer, 0) for layer in range(LAYERS)], 1)
    bars = exchange.cross_layer_thresholds(transcoder, side_by_side)
    exchange.write_circuit_tracer_cross_layer(transcoder, folder, thresholds=bars, model_name="random")
    p = transcoder.preactivations(side_by_side)
    dense = torch.where(p > bars, p, 0.0)
    codes = dictionaries.Codes(torch.arange(dense.shape[1]).expand(len(x), -1), dense, dense.shape[1])
    return dense, transcoder.decode(codes), (p - bars).abs().amin(1) > MARGIN


@torch.no_grad()
def answer(dictionary: SparseDictionary, x: torch.Tensor) -> Answer:
    """Return dense codes, reconstructions, and which rows are not decided by less than `MARGIN`."""
    codes = dictionary.encode(x)
    dense = torch.from_numpy(codes.to_csr().toarray())
    return dense, dictionary.decode(codes, x), margins(dictionary, x) > MARGIN


def margins(dictionary: SparseDictionary, x: torch.Tensor) -> torch.Tensor:
    """Return by how much each row's selection is decided, (n,), in float64."""
    plain = fold(dictionary.kind, asdict(dictionary.config), dictionary.state_dict())
    u = x.double() if plain.transcodes else x.double() - plain.bias
    p = u @ plain.encoder.T
    if plain.selection == "gated":
        return (p + plain.extra["gate_bias"]).abs().amin(1)
    p = p + plain.encoder_bias
    if plain.selection == "topk":
        k = plain.config["k"]
        order = p.relu().topk(k + 1, dim=1).values
        tied = order[:, k - 1] - order[:, k]
        return torch.where(order[:, k - 1] > 0, tied, torch.inf)
    bar = plain.extra["threshold"]
    return torch.where(bar > 0, (p - bar).abs(), torch.inf).amin(1)


def ask(interpreter: Path, library: str, root: Path) -> None:
    """Run the library's side."""
    script = HERE / "exchange_peers" / f"{library}_side.py"
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [str(interpreter), str(script), str(root)], capture_output=True, text=True, check=False, env=quiet
    )
    if done.returncode:
        raise SystemExit(f"{script.name} ended with status {done.returncode}\n{done.stdout}{done.stderr}")


def differences(
    name: str, package: str, folder: Path, codes: torch.Tensor, out: torch.Tensor, clear: torch.Tensor
) -> Iterator[Row]:
    """Yield the largest absolute differences from what the library answered for `folder`."""
    theirs = load_file(folder.parent / f"{folder.name}.safetensors")
    for metric, a, b in (("activations", codes, theirs["codes"]), ("reconstructions", out, theirs["out"])):
        worst = float((a[clear] - b[clear]).abs().max())
        yield Row(f"max_difference_{metric}", name, worst, "abs", package)
    yield Row("rows_left_out", name, float((~clear).sum()), "rows")
    yield Row("active_latents", name, float((codes > 0).float().mean() * codes.shape[1]), "1/row")
    if "features" in theirs:
        yield Row("features_in_a_graph", name, float(theirs["features"]), "features")


if __name__ == "__main__":
    main(run)
