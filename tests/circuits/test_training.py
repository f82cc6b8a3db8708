"""Training all layers: what comes out imitates MLPs, a killed call goes on to the same bytes, another is refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from cellglass.circuits import load_transcoders, train_transcoders, training
from cellglass.circuits.replacement import loss_table
from cellglass.circuits.training import read_losses
from cellglass.dictionaries.training.config import TrainConfig
from cellglass.errors import InputError
from cellglass.files import sha256

SHORT = TrainConfig(batch_size=64, steps=60, check_every=10, checkpoint_seconds=0.0)
SMALL = {"latents": 32, "k": 4, "n_rows": 900, "training": SHORT}


def labels_of(model):
    return "type" if model.kind == "cell2sentence" else None


@pytest.mark.slow
def test_every_layer_of_every_architecture_is_trained_and_measured(model, cells, tmp_path) -> None:
    made = train_transcoders(model, cells, tmp_path / "t", labels=labels_of(model), seed=3, **SMALL)
    assert sorted(path.name for path in (tmp_path / "t").iterdir() if path.name != ".lock") == [
        "layer-0", "layer-1", "loss.csv", "transcoders.json",
    ]  # fmt: skip
    again = load_transcoders(tmp_path / "t")
    assert again.check(model) is model
    assert (again.kind, again.k, again.n_latents, again.width, again.seed) == ("topk", 4, 32, 16, 3)
    assert len(again.held_out) == 4
    table = read_losses(tmp_path / "t")
    assert (table["error"] < 0.9).all()
    assert table["l0"].between(1, 4).all()
    held = cells[np.flatnonzero(cells.obs.index.isin(again.held_out))]
    measured = loss_table(model, made, held, labels=labels_of(model))
    pd.testing.assert_frame_equal(table, measured, rtol=1e-6)


@pytest.mark.parametrize(
    "options", [{"kind": "batchtopk"}, {"kind": "jumprelu"}, {"skip": True}, {"crosslayer": True}], ids=str
)
def test_other_kinds(options, cells, make_model, tmp_path) -> None:
    model = make_model("scgpt", cells)
    made = train_transcoders(model, cells, tmp_path / "t", **SMALL, **options)
    assert made.is_crosslayer == bool(options.get("crosslayer"))
    assert made.kind == ("crosslayer" if made.is_crosslayer else options.get("kind", "topk"))
    assert made.skip == bool(options.get("skip"))
    assert (read_losses(tmp_path / "t")["error"] < 1).all()


class KilledError(Exception):
    pass


@pytest.mark.parametrize("crosslayer", [False, True])
def test_a_killed_training_goes_on_to_the_same_bytes(crosslayer, cells, make_model, tmp_path) -> None:
    model = make_model("gpt_neox", cells)
    options = {**SMALL, "labels": "type", "crosslayer": crosslayer}
    told: list[tuple[str, int, int]] = []
    train_transcoders(model, cells, tmp_path / "whole", **options, progress=lambda *said: told.append(said))
    steps = [what for what in dict.fromkeys(what for what, _, _ in told) if what.startswith("transcoder of")]
    assert steps == (["transcoder of crosslayer"] if crosslayer else ["transcoder of layer 0", "transcoder of layer 1"])
    for what, at in (("read the MLPs", 1), (steps[-1], 25), ("losses with and without MLPs", 1)):

        def kill(said: str, done: int, total: int, what: str = what, at: int = at) -> None:
            if said == what and done >= at:
                raise KilledError

        with pytest.raises(KilledError):
            train_transcoders(model, cells, tmp_path / "killed", **options, progress=kill)
        with pytest.raises(InputError, match="has not ended"):
            load_transcoders(tmp_path / "killed")
    later: list[tuple[str, int, int]] = []
    train_transcoders(model, cells, tmp_path / "killed", **options, progress=lambda *said: later.append(said))
    assert {what for what, _, _ in later} == {"losses with and without MLPs"}
    assert sha256(tmp_path / "killed") == sha256(tmp_path / "whole")
    later.clear()
    train_transcoders(model, cells, tmp_path / "killed", **options, progress=lambda *said: later.append(said))
    assert not later
    with pytest.raises(InputError, match="holds transcoders of other cells, another model"):
        train_transcoders(model, cells, tmp_path / "killed", **options, seed=1)


@pytest.mark.parametrize("crosslayer", [False, True])
def test_a_streamed_training_keeps_as_much_of_the_mlps_and_only_state_on_disk(
    crosslayer, cells, make_model, tmp_path
) -> None:
    """The first layer, and a cross-layer one, see the same batches as from disk; other layers the same in its order."""
    model, on_disk = make_model("gpt_neox", cells), set()
    options = {**SMALL, "labels": "type", "crosslayer": crosslayer}

    def look(_what: str, _done: int, _total: int) -> None:
        on_disk.update(path.name for path in (tmp_path / "live" / "work").rglob("*"))

    stored = train_transcoders(model, cells, tmp_path / "stored", **options)
    made = train_transcoders(model, cells, tmp_path / "live", **options, stream=True, progress=look)
    assert on_disk <= {"job.json", "stream.safetensors"}
    assert "stream.safetensors" in on_disk
    torch.testing.assert_close(made[0].centre, stored[0].centre, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made[0].encoder, stored[0].encoder, rtol=0.05, atol=0.05)
    a, b = read_losses(tmp_path / "live"), read_losses(tmp_path / "stored")
    assert a["original"].tolist() == b["original"].tolist()
    assert (a["error"] - b["error"]).abs().max() < 0.05
    assert ((a["replaced"] - b["replaced"]).abs() < 0.1 * (b["zeroed"] - b["original"]).abs() + 0.02).all()


def test_a_killed_stream_goes_on_to_the_same_bytes(cells, make_model, tmp_path) -> None:
    model = make_model("scgpt", cells)
    options = {**SMALL, "kind": "batchtopk", "stream": True}
    train_transcoders(model, cells, tmp_path / "whole", **options)
    for what, at in (("count the tokens", 1), ("transcoders of all layers", 25), ("losses with and without MLPs", 1)):

        def kill(said: str, done: int, total: int, what: str = what, at: int = at) -> None:
            if said == what and done >= at:
                raise KilledError

        with pytest.raises(KilledError):
            train_transcoders(model, cells, tmp_path / "killed", **options, progress=kill)
    train_transcoders(model, cells, tmp_path / "killed", **options)
    assert sha256(tmp_path / "killed") == sha256(tmp_path / "whole")
    with pytest.raises(InputError, match="holds transcoders of other cells, another model"):
        train_transcoders(model, cells, tmp_path / "killed", **{**options, "stream": False})


def test_half_precision_on_disk_gives_nearly_the_same(cells, make_model, tmp_path) -> None:
    model = make_model("scgpt", cells)
    full, half = (train_transcoders(model, cells, tmp_path / d, **SMALL, dtype=d) for d in ("float32", "float16"))
    torch.testing.assert_close(full[0].centre, half[0].centre, atol=2e-3, rtol=1e-2)
    assert not torch.equal(full[0].centre, half[0].centre)


def test_what_cannot_be_trained_leaves_nothing(cells, make_model, tmp_path, monkeypatch) -> None:
    model = make_model("scgpt", cells)
    for options, message in (
        ({"labels": "type"}, "writes no answers"),
        ({"k": 99}, "k is 99"),
        ({"kind": "pca"}, "no transcoder of kind 'pca'"),
    ):
        with pytest.raises(InputError, match=message):
            train_transcoders(model, cells, tmp_path / "t", **(SMALL | options))
    with pytest.raises(InputError, match="no obs column 'nothing'"):
        train_transcoders(make_model("gpt_neox", cells), cells, tmp_path / "t", labels="nothing", **SMALL)
    assert not (tmp_path / "t").exists()
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(training.shutil, "disk_usage", lambda _folder: usage)
    with pytest.raises(InputError, match=r"are free; learn from fewer \(n_rows\)"):
        train_transcoders(model, cells, tmp_path / "t", **SMALL)


def test_the_index_says_what_they_are(cells, make_model, tmp_path) -> None:
    model = make_model("scgpt", cells)
    made = train_transcoders(model, cells, tmp_path / "t", **SMALL)
    content = json.loads((tmp_path / "t" / "transcoders.json").read_text())
    assert content["schema_version"] == 1
    assert content["model"] == {"kind": "scgpt", "fingerprint": made.fingerprint}
    assert content["layers"] == [0, 1]
    assert (content["kind"], content["k"], content["latents"], content["skip"]) == ("topk", 4, 32, False)
    assert content["training"]["cells"] == 36
    assert set(content["held_out"]) <= set(cells.obs.index)
    with pytest.raises(InputError, match=r"loss\.csv: cannot be read"):
        read_losses(tmp_path)
