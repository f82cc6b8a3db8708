import json
import subprocess
import sys

import pytest

from cellglass import models
from cellglass.errors import InputError


def test_importing_the_folder_imports_no_torch():
    code = "import sys, cellglass.models; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_every_public_name_can_be_had():
    for name in models.__all__:
        assert getattr(models, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = models.nothing


def test_load_finds_the_kind(make_model, cells, tmp_path):
    model, _ = make_model("batch", cells)
    model.save(tmp_path / "model")
    again = models.load(str(tmp_path / "model"))
    assert type(again) is models.ScviModel
    assert again.fingerprint() == model.fingerprint()


def test_wrong_paths_are_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "cfg.json").write_text(json.dumps({"kind": "oracle"}))
    for name, message in {
        "nowhere": "there is no folder",
        "file": "is a file",
        "empty": "holds no model",
        "strange": "kind 'oracle'; this version reads: scvi, scgpt, geneformer, cell2sentence, embedding",
    }.items():
        with pytest.raises(InputError, match=message) as error:
            models.load(tmp_path / name)
        assert "\n" not in str(error.value)


def test_published_folders_are_known_by_their_files(tmp_path):
    from cellglass.models.registry import kind_of

    for name, files, kind in (
        ("scgpt", {"args.json": "{}", "vocab.json": "{}"}, "scgpt"),
        ("bert", {"config.json": '{"model_type": "bert"}'}, "geneformer"),
        ("neox", {"config.json": '{"model_type": "gpt_neox"}'}, "cell2sentence"),
        ("gemma", {"config.json": '{"model_type": "gemma2"}'}, "cell2sentence"),
        ("scvi", {"model.pt": ""}, "scvi"),
    ):
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
        assert kind_of(tmp_path / name) == kind
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(InputError, match="network of type 't5'"):
        kind_of(tmp_path / "bert")
    (tmp_path / "bert" / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json cannot be read"):
        kind_of(tmp_path / "bert")
