"""Environments of the libraries that cellglass is measured against or exchanges files with, one for each.

Their requirements contradict each other and ours, so each library lives under ``build/peers/NAME`` with an interpreter
of its own: torch first, at the version of ``constraints.txt``, where the library needs it, then the library at the
version below. It installs and
checks that the import works; it runs no benchmark. ``python benchmarks/environments.py NAME ...`` makes some of them,
without names all; what stands already is left as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "build" / "peers"
TORCH = "torch==2.13.0"


class PeerError(RuntimeError):
    """An environment cannot be made; the message says which, and the way out."""


@dataclass(frozen=True)
class Peer:
    """How one library is installed.

    Attributes
    ----------
    package : str
        The library with its version.
    needs : tuple of str
        What is installed before it, beside torch. Where `whole` is false this is all that its training code imports.
    constraints : tuple of str
        Versions that pip must keep to.
    whole : bool
        Install the library's own requirements too. False where they ask for torchvision (whose registry build is
        linked to another torch) or for versions that no longer install, and where training needs none of them.
    check : str
        A statement that must run in the finished environment.
    with_torch : bool
        Whether it needs torch.
    """

    package: str
    needs: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    whole: bool = True
    check: str = ""
    with_torch: bool = True


def _alone(package: str, part: str) -> str:
    """Return a statement that imports `part` without the ``__init__`` of its `package`, as the training scripts do."""
    scripts = str(ROOT / "benchmarks" / "dictionary_peers")
    find = f"import sys; sys.path.insert(0, {scripts!r}); from protocol import without_init"
    return f"{find}; without_init({package!r}); import {part}"


RECIPES = {
    "saelens": Peer("sae-lens==6.54.12", check="import sae_lens"),
    "sparsify": Peer("eai-sparsify==1.3.3", check="import sparsify"),
    # Its __init__ imports image models (torchvision, timm, OpenCV); `overcomplete.sae` itself needs only these.
    "overcomplete": Peer(
        "Overcomplete==0.3.0",
        needs=("numpy", "scipy", "scikit-learn>=1.2,<2", "einops", "pillow", "tqdm", "safetensors"),
        whole=False,
        check=_alone("overcomplete", "overcomplete.sae"),
    ),
    # Its __init__ imports nnsight 0.3, which asks for torchvision and old transformers; the trainers need only these.
    "dictionary_learning": Peer(
        "dictionary-learning==0.1.0",
        needs=("numpy", "einops", "tqdm", "safetensors"),
        whole=False,
        check=_alone("dictionary_learning", "dictionary_learning.trainers.top_k"),
    ),
    # It asks for nnsight >= 0.6, and does not import with 0.8; gguf reads the weights that tracing.py traces.
    "circuit_tracer": Peer(
        "circuit-tracer==0.5.0",
        needs=("gguf==0.19.0",),
        constraints=("transformers==4.57.3", "nnsight==0.6.1"),
        check="import circuit_tracer, gguf",
    ),
    # What scanpy's Leiden with flavor="igraph" calls.
    "leiden": Peer("igraph==1.0.0", check="import igraph", with_torch=False),
}


def folder(name: str) -> Path:
    """Return the folder of the environment `name`."""
    return PEERS / name


def python(name: str) -> Path:
    """Return the interpreter of the environment `name`, which may not stand yet."""
    windows = os.name == "nt"
    return folder(name) / ("Scripts/python.exe" if windows else "bin/python")


def stands(name: str) -> bool:
    """Say whether the environment `name` is finished and made by the present recipe."""
    stamp = folder(name) / ".installed"
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _fingerprint(name)


def ensure(name: str) -> Path:
    """Make the environment `name` where it does not stand yet, and return its interpreter.

    Raises
    ------
    PeerError
        The name is unknown, or pip could not install something; the message holds pip's last lines.
    """
    if name not in RECIPES:
        raise PeerError(f"no recipe for an environment {name!r}; choose from {', '.join(RECIPES)}")
    PEERS.mkdir(parents=True, exist_ok=True)
    with FileLock(PEERS / f"{name}.lock"):
        if not stands(name):
            _make(name)
    return python(name)


def _make(name: str) -> None:
    """Install everything from nothing; the stamp is written last."""
    recipe, home, start = RECIPES[name], folder(name), time.perf_counter()
    print(f"[{name}] making {home} ...", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    _call(name, [sys.executable, "-m", "venv", str(home)])
    limits = home / "constraints.txt"
    limits.write_text("\n".join((TORCH, *recipe.constraints)) + "\n", encoding="utf-8")
    _install(name, [*([TORCH] if recipe.with_torch else []), "numpy"])
    if recipe.needs:
        _install(name, ["-c", str(limits), *recipe.needs])
    _install(name, ["-c", str(limits), *(() if recipe.whole else ("--no-deps",)), recipe.package])
    if recipe.check:
        _call(name, [str(python(name)), "-c", recipe.check])
    (home / ".installed").write_text(_fingerprint(name), encoding="utf-8")
    print(f"[{name}] stands after {time.perf_counter() - start:.0f} s", flush=True)


def _install(name: str, what: list[str]) -> None:
    """Let pip install `what`."""
    print(f"[{name}] pip install {' '.join(x for x in what if not x.startswith(('-c', '/')))}", flush=True)
    _call(name, [str(python(name)), "-m", "pip", "install", "-q", "--disable-pip-version-check", *what])


def _call(name: str, command: list[str]) -> None:
    """Run `command`; PeerError with its last lines where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    said = (done.stdout + done.stderr).strip()
    signs = ("NewConnectionError", "NameResolutionError", "ConnectTimeout", "Max retries")
    unreachable = any(sign in said for sign in signs)
    way = (
        "the package registry cannot be reached from here; run this where it can, or point pip at a mirror"
        if unreachable
        else "see what it said, change the recipe in benchmarks/environments.py or the network, and run again"
    )
    tail = "\n".join("    " + line for line in said.splitlines()[-8:])
    raise PeerError(f"[{name}] `{' '.join(command[1:6])} ...` ended with status {done.returncode}; {way}\n{tail}")


def _fingerprint(name: str) -> str:
    """Return what tells one recipe from another."""
    recipe = {key: value for key, value in asdict(RECIPES[name]).items() if key != "check"}  # it holds this folder
    if recipe.pop("with_torch"):
        recipe["torch"] = TORCH
    text = json.dumps({"python": sys.version_info[:2], **recipe}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    """Make the environments that the command line names."""
    parser = argparse.ArgumentParser(description="Make the environments of the libraries that are measured against.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}; none means all")
    failed = False
    for name in parser.parse_args().names or RECIPES:
        try:
            ensure(name)
        except PeerError as error:
            print(error, file=sys.stderr)
            failed = True
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
