"""Kinds are found by name: ours, each stated once, and those of other packages; names cost nothing."""

import json
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from cellglass import dictionaries
from cellglass.dictionaries import KINDS, DictionaryKind, TopK, TopKConfig, TrainConfig
from cellglass.dictionaries.registry import trained
from cellglass.errors import InputError
from cellglass.vocabulary import BASELINES, JOINT

QUICK = TrainConfig(steps=60, batch_size=64, check_every=10, dead_after=500)


def test_names_cost_no_torch() -> None:
    code = "import sys; from cellglass.dictionaries.registry import KINDS, trained; trained(); list(KINDS); "
    code += "print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"


def test_an_unknown_kind_names_those_that_there_are(positive, tmp_path) -> None:
    with pytest.raises(
        InputError, match=r"there is no kind of dictionary 'umap'; there are: consensus, matryoshka, .*topk"
    ):
        dictionaries.fit("umap", positive)
    dictionaries.fit("neurons", positive).save(tmp_path / "d")
    content = json.loads((tmp_path / "d" / "cfg.json").read_text())
    (tmp_path / "d" / "cfg.json").write_text(json.dumps({**content, "kind": "umap"}))
    with pytest.raises(InputError, match="umap"):
        dictionaries.load(tmp_path / "d")


def test_every_kind_is_named_by_its_class() -> None:
    assert {name: entry.cls.kind for name, entry in KINDS.items()} == {name: name for name in KINDS}
    for name, entry in KINDS.items():
        assert entry.family == ("trained" if name in trained() else "joint" if name in JOINT else "baseline")
        if name not in BASELINES:
            assert entry.cls.config_class.kind == name
    assert set(trained()) | set(JOINT) | set(BASELINES) == set(KINDS)


@dataclass(frozen=True)
class HalvesConfig(TopKConfig):
    kind = "halves"


class Halves(TopK):
    kind = "halves"
    config_class = HalvesConfig


def test_a_kind_of_another_package_is_fitted_saved_and_loaded(positive, tmp_path, monkeypatch) -> None:
    entry = DictionaryKind(Halves, "trained", lambda width, _rows, m, k: HalvesConfig(width, m, max(1, k // 2)))
    with pytest.raises(InputError, match="there is no kind of dictionary 'halves'"):
        dictionaries.fit("halves", positive)
    monkeypatch.setitem(KINDS.built_in, "halves", "somewhere:ENTRY")
    monkeypatch.setitem(KINDS._loaded, "halves", entry)
    made = dictionaries.fit("halves", positive, training=QUICK)
    made.save(tmp_path / "d")
    again = dictionaries.load(tmp_path / "d")
    assert type(again) is Halves
    assert again.config == made.config
    assert np.diff(again.encode(positive).to_csr().indptr).max() <= made.config.k
