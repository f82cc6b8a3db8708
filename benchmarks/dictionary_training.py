"""Training of TopK dictionaries: cellglass against SAELens, sparsify, overcomplete and dictionary_learning.

Every library runs in an environment of its own (`environments`), in a process of its own, with its own recommended
settings (said in ``dictionary_peers/train_NAME.py``), on the same vectors in the same order (`vectors`): mixtures of
planted directions, and activations of an scVI model that is fitted here. The clock counts the training loop alone,
without its first steps; quality is measured from weights written while the clock stands, by one evaluator for all, on
vectors that none has seen. Each library takes the faster of one and two threads, tried on a few steps. The floor is the
encoder's dense product alone: timed between the steps of one more training with cellglass, so that both see the same
machine, and, for its fastest moment, before and after everything in each way that was tried.

Beside ``--quick`` and ``--json FILE``: ``--device cuda`` trains on a GPU, ``--peers NAME ...`` chooses libraries.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import Row, main

sys.path.insert(0, str(Path(__file__).resolve().parent / "dictionary_peers"))

import environments
import vectors
from evaluate import Quality, quality, recovered

WORK = environments.ROOT / "build" / "dictionary_training"
SCRIPTS = Path(__file__).resolve().parent / "dictionary_peers"
OURS = "cellglass"
PEERS = ("saelens", "sparsify", "overcomplete", "dictionary_learning")
_WARM, _TRIAL, _BESIDE = 3, 9, 43
_SNAPSHOTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)


@dataclass(frozen=True)
class Setting:
    """What is trained on what.

    Attributes
    ----------
    name : str
        Begins the name of each row.
    folder : Path
        The vectors.
    d, n_latents, k, batch, steps : int
    device : str
    libraries : tuple of str
    threads : tuple of int
        Tried for each library; one alone is taken as it is.
    """

    name: str
    folder: Path
    d: int
    n_latents: int
    k: int
    batch: int
    steps: int
    device: str
    libraries: tuple[str, ...]
    threads: tuple[int, ...]

    @property
    def seen(self) -> int:
        """Vectors in all."""
        return self.steps * self.batch


@dataclass(frozen=True)
class Outcome:
    """What one library came to.

    Attributes
    ----------
    rate : float
        Vectors per second of the training loop.
    threads : int
    peak_mib, training_mib : float
        Largest resident memory of the process, and how much of it came after the library was imported and its
        dictionary made (both of the GPU, and equal, where one is used).
    curve : list of (int, Quality)
        Quality after so many vectors; the last is after all.
    """

    rate: float
    threads: int
    peak_mib: float
    training_mib: float
    curve: list[tuple[int, Quality]]

    @property
    def final(self) -> Quality:
        """Quality after all vectors."""
        return self.curve[-1][1]

    def explained_after(self, seen: float) -> float:
        """Return variance explained after `seen` vectors, on straight lines between those measured, from 0 at none."""
        before = (0, 0.0)
        for count, found in self.curve:
            if seen <= count:
                share = (seen - before[0]) / (count - before[0])
                return before[1] + share * (found.variance_explained - before[1])
            before = (count, found.variance_explained)
        return before[1]


def run(quick: bool, device: str = "cpu", peers: tuple[str, ...] = PEERS) -> Iterator[Row]:
    """Measure training of TopK dictionaries by every library (see the module for further flags)."""
    libraries = (OURS, *available(peers, quick))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = (1,) if quick or device != "cpu" or cores == 1 else (1, 2)
    if quick:
        data = vectors.Planted(d=128, n_planted=1024, active=16, n_train=48 * 1024, n_held=4096)
        shape = {"d": 128, "n_latents": 1024, "k": 16, "batch": 1024, "steps": 48}
    else:
        data = vectors.Planted()
        shape = {"d": 512, "n_latents": 4096, "k": 32, "batch": 4096, "steps": 122}
    yield from measured(
        Setting("planted", vectors.planted(data), **shape, device=device, libraries=libraries, threads=threads)
    )
    cells = vectors.Real(d=128, epochs=2, n_train=48 * 1024) if quick else vectors.Real()
    shape = {"d": cells.d, "n_latents": 1024, "k": 32, "batch": 1024, "steps": cells.n_train // 1024}
    some = (OURS,) if quick else libraries
    yield from measured(Setting("scVI", vectors.real(cells), **shape, device=device, libraries=some, threads=threads))


def available(peers: tuple[str, ...], quick: bool) -> list[str]:
    """Return the peers whose environment stands; make the missing ones unless `quick`."""
    found = []
    for name in peers:
        if quick and not environments.stands(name):
            print(f"{name} is left out: no environment stands; make it with environments.py {name}", flush=True)
            continue
        try:
            environments.ensure(name)
        except environments.PeerError as error:
            print(f"{name} is left out: {error}", flush=True)
            continue
        found.append(name)
    return found


def measured(setting: Setting) -> Iterator[Row]:
    """Train with every library and yield the rows of one setting."""
    what = f"{setting.name} d={setting.d}, {setting.n_latents:,} latents, k={setting.k}, batch {setting.batch:,}"
    floors = [floor(setting)]
    outcomes = {}
    for library in setting.libraries:
        outcome = train(setting, library)
        if outcome is not None:
            outcomes[library] = outcome
    floors.append(floor(setting))
    yield from rows(setting, what, outcomes)
    if OURS in outcomes:
        yield from beside_product(setting, what, outcomes[OURS].threads)
    for kind in floors[0]:
        rate = max(found[kind] for found in floors)
        yield Row("vectors_per_second", f"{what}: the encoder's product at its fastest moment, {kind}", rate, "1/s")
    if setting.device != "cpu" and OURS in outcomes:
        yield from share_of_peak(setting, what, outcomes[OURS])


def beside_product(setting: Setting, what: str, threads: int) -> Iterator[Row]:
    """Yield our rate and that of the encoder's product alone, timed in turns in one more training."""
    result = _call(setting, OURS, threads, min(_BESIDE, setting.steps), "beside", product_every=2)
    shutil.rmtree(WORK / setting.name)
    ours = _rate(result)
    product = setting.batch * len(result["product"]) / sum(result["product"])
    alone = "the encoder's product alone"
    yield Row("vectors_per_second", f"{what}: {alone}, between the steps of {OURS}", product, "1/s")
    yield Row("vectors_per_second", f"{what}: {OURS}, around it", ours, "1/s", alone, ours / product)


def rows(setting: Setting, what: str, outcomes: dict[str, Outcome]) -> Iterator[Row]:
    """Yield what the libraries came to; ours with the best peer beside it."""
    measures: tuple[tuple[str, str, bool, Callable[[Outcome], float | None]], ...] = (
        ("vectors_per_second", "1/s", True, lambda one: one.rate),
        ("variance_explained", "", True, lambda one: one.final.variance_explained),
        ("planted_recovered", "", True, lambda one: one.final.recovered),
        ("dead_share", "", False, lambda one: one.final.dead_share),
        ("l0", "", False, lambda one: one.final.l0),
        ("peak_memory", "MiB", False, lambda one: one.peak_mib),
        ("peak_memory_in_training", "MiB", False, lambda one: one.training_mib),
        ("threads", "", False, lambda one: float(one.threads)),
        ("largest_difference", "", False, lambda one: max(found.check for _, found in one.curve)),
    )
    for metric, unit, up, read in measures:
        values = {library: value for library, one in outcomes.items() if (value := read(one)) is not None}
        compared = metric not in ("l0", "threads", "largest_difference")
        for library, value in values.items():
            versus, ratio = best_peer(values, up) if compared and library == OURS else (None, None)
            yield Row(metric, f"{what}: {title(library)}", value, unit, versus, ratio)
        if metric == "planted_recovered" and values:
            noise = torch.Generator().manual_seed(0)
            chance = recovered(torch.randn(setting.n_latents, setting.d, generator=noise), setting.folder)
            yield Row(metric, f"{what}: random directions", chance or 0.0, unit)
    if OURS in outcomes:
        yield from equal_time(setting, what, outcomes)
    for library, one in outcomes.items():
        for seen, found in one.curve[:-1]:
            name = f"{what}: {title(library)} after {seen:,} vectors, {seen / one.rate:.1f} s"
            yield Row("variance_explained_so_far", name, found.variance_explained, "")


def best_peer(values: dict[str, float], up: bool) -> tuple[str | None, float | None]:
    """Return the best peer and our ratio to it, above 1 where ours is better; no ratio to what is not above 0."""
    peers = {title(library): value for library, value in values.items() if library != OURS}
    if not peers:
        return None, None
    name = (max if up else min)(peers, key=lambda peer: peers[peer])
    ours, theirs = (values[OURS], peers[name]) if up else (peers[name], values[OURS])
    return name, ours / theirs if ours > 0 and theirs > 0 else None


def equal_time(setting: Setting, what: str, outcomes: dict[str, Outcome]) -> Iterator[Row]:
    """Yield what each library explains in the time that ours takes for all vectors."""
    seconds = setting.seen / outcomes[OURS].rate
    values = {library: one.explained_after(seconds * one.rate) for library, one in outcomes.items()}
    for library, value in values.items():
        versus, ratio = best_peer(values, up=True) if library == OURS else (None, None)
        name = f"{what}: {title(library)} in {seconds:.1f} s"
        yield Row("variance_explained_equal_time", name, value, "", versus, ratio)


def title(library: str) -> str:
    """Return a library's name with its version."""
    return library if library == OURS else environments.RECIPES[library].package.replace("==", " ")


def train(setting: Setting, library: str) -> Outcome | None:
    """Train with `library` in a process of its own; None, and a note, where it fails."""
    try:
        best = setting.threads[0]
        if len(setting.threads) > 1:
            tried = {n: _rate(_call(setting, library, n, _TRIAL, "trial")) for n in setting.threads}
            best = max(tried, key=lambda n: tried[n])
        result = _call(setting, library, best, setting.steps, "whole")
    except subprocess.CalledProcessError as error:
        print(f"{library} is left out: its training ended with status {error.returncode}\n{error.stderr[-2000:]}")
        return None
    out = _out(setting, library, "whole")
    curve = []
    for path in sorted(out.glob("step-*.safetensors")):
        curve.append((int(path.stem.partition("-")[2]) * setting.batch, quality(path, setting.folder, setting.k)))
    shutil.rmtree(WORK / setting.name)
    on_device = result["device_peak_mib"]
    peak = on_device or result["peak_mib"]
    return Outcome(_rate(result), best, peak, on_device or peak - result["resident_mib"], curve)


def _rate(result: dict[str, Any]) -> float:
    seconds, seen = result["curve"][-1]
    return float(seen / seconds)


def _out(setting: Setting, library: str, part: str) -> Path:
    return WORK / setting.name / f"{library}-{part}"


def _call(
    setting: Setting, library: str, threads: int, steps: int, part: str, product_every: int = 0
) -> dict[str, Any]:
    """Run the training script of `library` and return its result."""
    out = _out(setting, library, part)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    snapshots = sorted({max(1, round(share * steps)) for share in _SNAPSHOTS}) if part == "whole" else []
    job = {
        "vectors": str(setting.folder),
        "out": str(out),
        "d": setting.d,
        "n_latents": setting.n_latents,
        "k": setting.k,
        "batch": setting.batch,
        "steps": steps,
        "warm": _WARM,
        "snapshots": snapshots,
        "threads": threads,
        "device": setting.device,
        "product_every": product_every,
    }
    (out / "job.json").write_text(json.dumps(job), encoding="utf-8")
    interpreter = sys.executable if library == OURS else str(environments.python(library))
    count = str(threads)
    bounds = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), count)
    apart = {"WANDB_MODE": "disabled", "HF_HUB_OFFLINE": "1", "PYTHONNOUSERSITE": "1"}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [interpreter, str(SCRIPTS / f"train_{library}.py"), str(out / "job.json")],
        env=inherited | bounds | apart,
        check=True,
        capture_output=True,
        text=True,
    )
    result: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return result


def floor(setting: Setting) -> dict[str, float]:
    """Return vectors per second of the encoder's dense product alone, the fastest of what is tried, for each type."""
    device = torch.device(setting.device)
    noise = torch.Generator().manual_seed(0)
    x = torch.randn(setting.batch, setting.d, generator=noise).to(device)
    encoder = torch.randn(setting.n_latents, setting.d, generator=noise).to(device)
    bias = torch.zeros(setting.n_latents, device=device)
    found = {}
    before = torch.get_num_threads()
    for kind, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b, c = x.to(dtype), encoder.to(dtype), bias.to(dtype)
        out = torch.empty(setting.batch, setting.n_latents, dtype=dtype, device=device)
        turned = b.T.contiguous()
        seconds = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            seconds.append(_best(lambda a=a, b=b, c=c, out=out: torch.addmm(c, a, b.T, out=out), device))
            seconds.append(_best(lambda a=a, t=turned, c=c, out=out: torch.addmm(c, a, t, out=out), device))
        found[kind] = setting.batch / min(seconds)
    torch.set_num_threads(before)
    return found


def _best(work: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Return the least seconds that `work` took."""
    took = []
    for _ in range(repeats + 1):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        took.append(time.perf_counter() - start)
    return min(took[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def share_of_peak(setting: Setting, what: str, ours: Outcome) -> Iterator[Row]:
    """Yield the arithmetic that a step needs, per second, as a share of the rate of a large product on this device.

    A step needs the encoder's product, 2 d m for each vector, and over its k latents the decoder's, the gradient of the
    codes and those of both weights, 2 d k each.
    """
    device, size = torch.device(setting.device), 8192
    needed = 2 * setting.d * (setting.n_latents + 4 * setting.k) * ours.rate
    for kind, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a = torch.randn(size, size, device=device, dtype=dtype)
        peak = 2 * size**3 / _best(lambda a=a: a @ a, device)
        yield Row("flops_per_second", f"product of two {size:,} x {size:,} {kind} matrices", peak, "1/s")
        name = f"{what}: {OURS}, needed arithmetic over the {kind} peak"
        yield Row("share_of_peak", name, needed / peak, "", f"{kind} peak", needed / peak)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    options, rest = parser.parse_known_args()
    sys.argv[1:] = rest

    def chosen(quick: bool) -> Iterator[Row]:  # noqa: D103
        return run(quick, options.device, tuple(options.peers))

    chosen.__doc__ = run.__doc__
    main(chosen)
