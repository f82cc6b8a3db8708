"""Settings, the split of the cells, what a training depends on, and folders that hold something else."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cellglass.circuits.objectives import objective_of
from cellglass.circuits.plan import Split, check_folder, job_of, split_cells, transcoder_config
from cellglass.circuits.tokens import rows_per_cell
from cellglass.dictionaries.training.config import TrainConfig
from cellglass.errors import InputError

SHORT = TrainConfig()


def test_a_layer_has_eight_latents_a_dimension_and_a_cross_layer_one_as_many_in_each() -> None:
    one = transcoder_config(16, 3, "topk", None, 4, True, False)
    assert (one.kind, one.d_in, one.d_out, one.n_latents, one.k, one.skip) == ("topk", 16, 16, 128, 4, True)
    for kind in ("batchtopk", "jumprelu"):
        other = transcoder_config(16, 3, kind, 40, 4, False, False)
        assert (other.kind, other.d_out, other.n_latents, other.k) == (kind, 16, 40, 4)
    joint = transcoder_config(16, 3, "topk", None, 4, False, True)
    assert (joint.kind, joint.d_in, joint.d_out, joint.n_latents, joint.k) == ("crosslayer", 48, 48, 384, 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("gated", None, 4, False, False), "choose one of: topk, batchtopk, jumprelu"),
        (("topk", 8, 9, False, False), "k is 9; it must lie between 1 and the number of latents of a layer, 8"),
        (("topk", 0, 1, False, False), "k is 1"),
        (("topk", None, 4, True, True), "of kind topk and has no skip"),
        (("batchtopk", None, 4, False, True), "of kind topk and has no skip"),
        (("topk", 8, 9, False, True), "k is 9"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message) -> None:
    with pytest.raises(InputError, match=message):
        transcoder_config(16, 3, *settings)


def test_a_tenth_is_held_out_and_more_cells_than_needed_are_not_read(make_cells, make_model) -> None:
    cells = make_cells(100)
    objective = objective_of(make_model("scgpt", cells))
    whole = split_cells(objective, cells, 10**6, 0)
    assert (len(whole.learn), len(whole.stop), len(whole.test)) == (80, 10, 10)
    assert sorted([*whole.learn, *whole.stop, *whole.test]) == list(range(100))
    assert whole.captured.tolist() == sorted([*whole.learn, *whole.stop])
    some = split_cells(objective, cells, 300, 0)
    assert len(some.learn) == pytest.approx(300 / rows_per_cell(objective, cells, 0), abs=5)
    assert set(some.learn) < set(whole.learn)
    assert some.test.tolist() == whole.test.tolist()
    assert split_cells(objective, cells, 300, 1).test.tolist() != whole.test.tolist()
    with pytest.raises(InputError, match="9 cells are too few to train on; give 10 or more"):
        split_cells(objective, cells[:9], 300, 0)
    with pytest.raises(InputError, match="n_rows is 0"):
        split_cells(objective, cells, 0, 0)


def test_a_job_is_another_with_other_cells_labels_settings_or_split(make_cells) -> None:
    cells, config = make_cells(20), transcoder_config(16, 2, "topk", None, 4, False, False)
    split = Split(np.arange(10), np.arange(10, 15), np.arange(15, 20))

    def job(cells=cells, split=split, config=config, training=SHORT, labels="type"):
        return job_of(cells, split, ["scgpt", "f", "g", labels, 0, "float32"], config, training)

    relabelled, counted = make_cells(20), make_cells(20, seed=1)
    relabelled.obs["type"] = "one"
    others = [
        job(cells=counted),
        job(cells=relabelled),
        job(labels=None),
        job(split=Split(np.arange(9), np.arange(10, 15), np.arange(15, 20))),
        job(config=transcoder_config(16, 2, "topk", None, 5, False, False)),
        job(training=TrainConfig(steps=3)),
    ]
    assert len({job(), *others}) == 7
    assert job(training=TrainConfig(checkpoint_seconds=1)) == job()


def test_a_folder_that_holds_something_else_is_refused(tmp_path) -> None:
    check_folder(tmp_path / "new", "a")
    check_folder(tmp_path, "a")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "job.json").write_text(json.dumps({"job": "a"}))
    check_folder(tmp_path, "a")
    with pytest.raises(InputError, match=r"holds transcoders of other cells.*; remove it, or choose another folder"):
        check_folder(tmp_path, "b")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match=r"holds other files \(thesis.txt"):
        check_folder(tmp_path / "full", "a")
    with pytest.raises(InputError, match="is a file; give a folder"):
        check_folder(tmp_path / "full" / "thesis.txt", "a")
