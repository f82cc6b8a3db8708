"""Folders of models as people have them, from the collection of inputs beside the repository; skipped without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cellglass.errors import InputError
from cellglass.models import load
from cellglass.models.base import CellModel

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"

SCGPT = {
    # folder: what is said where it is refused, or None
    "tutorial_annotation": None,
    "epoch_file": None,
    "dab_only": None,
    "wrapped": None,
    "half": None,
    "integration": "normalises each cell by the statistics of its batch",
    "perturbation": "reads a flag of each perturbed gene",
    "no_args": "there is no args.json in it",
    "short_vocab": "vocab.json has .* tokens and the model",
    "whole_model": "save its weights alone",
}


def made(name: str, folder: Path) -> Path:
    """Run a program of the collection; it writes into `folder`."""
    if not (CASES / f"{name}.py").is_file():
        pytest.skip(f"no inputs at {CASES}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, CASES / f"{name}.py", folder], check=True, env=environment, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cases")
    made("make_small_transformers", root / "small_transformers")
    made("scgpt_folders", root / "scgpt_folders")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", SCGPT)
def test_folders_of_scgpt(folders: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    said = SCGPT[name]
    if said is not None:
        with pytest.raises(InputError, match=said) as caught:
            load(folders / "scgpt_folders" / name)
        assert "\n" not in str(caught.value)
        return
    model: CellModel = load(folders / "scgpt_folders" / name)
    assert model.kind == "scgpt"
    if name != "half":
        assert model.fingerprint() == load(folders / "small_transformers" / "scgpt").fingerprint()
    assert ("grad_reverse_discriminator" in caplog.text) == (name == "dab_only")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scgpt", "gf_dicts", "gf_weights", "scvi"])
def test_pointers_in_place_of_large_files(tmp_path: Path, name: str) -> None:
    folder = made("lfs_pointers", tmp_path / "cases") / name
    with pytest.raises(InputError, match=r"is a Git LFS pointer, not the file itself; fetch that with: git .*lfs pull"):
        load(folder)
