"""Folders as they are published: written here by hand, name by name, and read by the package."""

import json

import pytest
import torch

from cellglass.errors import InputError
from cellglass.models import load
from cellglass.models.scgpt import files
from cellglass.models.scgpt.model import ScgptModel

GENES = ["CD3D", "MS4A1", "LYZ", "NKG7", "PPBP", "GNLY"]
ARGS = {"embsize": 16, "nlayers": 2, "nheads": 4, "d_hid": 8, "pad_value": -2, "n_bins": 51, "mask_value": -1,
        "max_seq_len": 1200, "pad_token": "<pad>", "input_style": "binned", "input_emb_style": "continuous",
        "dropout": 0.2, "n_layers_cls": 3, "lr": 0.0001, "no_cls": True, "mask_ratio": [0.25, 0.5]}  # fmt: skip


def published(n_tokens=9, width=16, hidden=8, layers=2):
    """A state dict by its published names, as flash-attn names attention."""
    shapes = {"encoder.embedding.weight": (n_tokens, width), "flag_encoder.weight": (2, width)}

    def linear(name, rows, columns):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (rows, columns), (rows,)

    def norm(name):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (width,), (width,)

    norm("encoder.enc_norm")
    linear("value_encoder.linear1", width, 1)
    linear("value_encoder.linear2", width, width)
    norm("value_encoder.norm")
    for i in range(layers):
        layer = f"transformer_encoder.layers.{i}"
        linear(f"{layer}.self_attn.Wqkv", 3 * width, width)
        linear(f"{layer}.self_attn.out_proj", width, width)
        linear(f"{layer}.linear1", hidden, width)
        linear(f"{layer}.linear2", width, hidden)
        norm(f"{layer}.norm1")
        norm(f"{layer}.norm2")
    for k, rows in ((0, width), (2, width), (4, 1)):
        linear(f"decoder.fc.{k}", rows, width)
    linear("mvc_decoder.gene2query", width, width)
    shapes["mvc_decoder.W.weight"] = (width, width)
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}


def write(folder, tensors=None, args=None, vocab=None):
    folder.mkdir()
    tensors = published() if tensors is None else tensors
    vocab = {token: i for i, token in enumerate([*GENES, "<pad>", "<cls>", "<eoc>"])} if vocab is None else vocab
    (folder / "args.json").write_text(json.dumps(ARGS if args is None else args))
    (folder / "vocab.json").write_text(json.dumps(vocab))
    torch.save(tensors, folder / "best_model.pt")
    return folder


def test_every_published_tensor_has_its_place(tmp_path):
    tensors = published()
    found = files.read(write(tmp_path / "m", tensors))
    state = found.net.state_dict()
    assert state.keys() == tensors.keys()
    assert all(torch.equal(state[name], tensors[name]) for name in tensors)
    assert not found.net.training
    assert (found.cfg.n_tokens, found.cfg.n_heads, found.cfg.pad_id, found.cfg.pad_value) == (9, 4, 6, -2)
    assert found.args == ARGS


@pytest.mark.parametrize("naming", ["in_proj", "_impl", "module", "module in_proj", "half"])
def test_other_ways_to_name_or_keep_the_same_weights(tmp_path, naming):
    tensors = published()
    expected = ScgptModel.load(write(tmp_path / "plain", tensors)).fingerprint()
    if naming == "half":
        half = {name: tensor.half() for name, tensor in tensors.items()}
        loaded = ScgptModel.load(write(tmp_path / "half", half)).net.state_dict()
        assert all(torch.equal(loaded[name], half[name].float()) for name in half)
        return
    if "in_proj" in naming:
        tensors = {name.replace(".Wqkv.", ".in_proj_"): tensor for name, tensor in tensors.items()}
        assert "transformer_encoder.layers.1.self_attn.in_proj_weight" in tensors
    if naming == "_impl":
        tensors = {name.replace("self_attn.", "self_attn._impl."): tensor for name, tensor in tensors.items()}
    if "module" in naming:
        tensors = {f"module.{name}": tensor for name, tensor in tensors.items()}
    assert ScgptModel.load(write(tmp_path / "other", tensors)).fingerprint() == expected


def test_pytorchs_own_attention_reads_the_same_rows(tmp_path):
    """in_proj rows are those of Wqkv: q, k and v one below the other, heads within."""
    tensors = published()
    net = files.read(write(tmp_path / "m", tensors)).net
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True).eval()
    name = "transformer_encoder.layers.0.self_attn"
    theirs.load_state_dict(
        {
            "in_proj_weight": tensors[f"{name}.Wqkv.weight"],
            "in_proj_bias": tensors[f"{name}.Wqkv.bias"],
            "out_proj.weight": tensors[f"{name}.out_proj.weight"],
            "out_proj.bias": tensors[f"{name}.out_proj.bias"],
        }
    )
    x, mask = torch.randn(3, 5, 16), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]).bool()
    with torch.no_grad():
        found = net.transformer_encoder.layers[0].self_attn(x, mask[:, None, None, :])
        expected, _ = theirs(x, x, x, key_padding_mask=~mask)
    torch.testing.assert_close(found[mask], expected[mask], rtol=1e-5, atol=1e-5)


def test_missing_left_over_and_misshapen_tensors_are_listed(tmp_path):
    tensors = published()
    del tensors["transformer_encoder.layers.1.norm2.bias"]
    tensors["other.weight"] = torch.ones(16)
    tensors["decoder.fc.4.weight"] = torch.ones(2, 16)
    with pytest.raises(InputError) as error:
        files.read(write(tmp_path / "m", tensors))
    text = str(error.value)
    assert "missing: transformer_encoder.layers.1.norm2.bias" in text
    assert "left over: other.weight" in text
    assert "wrong shape: decoder.fc.4.weight is (2, 16) where (1, 16) is wanted" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("mvc_decoder.W.weight"), "missing: mvc_decoder.W.weight"),
        (lambda t: t.update({"mvc_decoder.fc1.weight": torch.ones(64, 16)}), "left over: mvc_decoder.fc1.weight"),
        (lambda t: t.update({"encoder.embedding.weight": torch.ones(8, 16)}), r"is \(8, 16\) where \(9, 16\)"),
        (lambda t: t.update({"transformer_encoder.layers.2.norm1.bias": torch.ones(16)}), "left over: .*layers.2"),
        (lambda t: t.update({"flag_encoder.weight": torch.ones(3, 16)}), "wrong shape: flag_encoder.weight"),
    ],
)
def test_a_single_wrong_tensor_is_named(tmp_path, change, message):
    tensors = published()
    change(tensors)
    with pytest.raises(InputError, match=message):
        files.read(write(tmp_path / "m", tensors))


def test_parts_that_are_not_run_are_known_by_name_and_kept(tmp_path):
    tensors = published()
    plain = ScgptModel.load(write(tmp_path / "plain", tensors))
    more = dict(tensors)
    for name, shape in {"_decoder.0": (16, 16), "_decoder.3": (16, 16), "out_layer": (7, 16)}.items():
        more[f"cls_decoder.{name}.weight"], more[f"cls_decoder.{name}.bias"] = torch.ones(shape), torch.ones(shape[0])
    for name in ("cls_decoder._decoder.2", "cls_decoder._decoder.5", "bn"):
        more[f"{name}.weight"], more[f"{name}.bias"] = torch.ones(16), torch.ones(16)
    more |= {"bn.running_mean": torch.ones(16), "bn.running_var": torch.ones(16)}
    more["bn.num_batches_tracked"] = torch.tensor(5)
    rich = ScgptModel.load(write(tmp_path / "rich", more))
    assert (rich.cfg.batch_norm, rich.cfg.n_classes) == ("idle", 7)
    ids, values, mask = torch.tensor([[7, 0, 3]]), torch.tensor([[-2.0, 5, 9]]), torch.ones(1, 3, dtype=torch.bool)
    assert torch.equal(rich.net(ids, values, mask).hidden, plain.net(ids, values, mask).hidden)
    rich.save(tmp_path / "again")
    again = torch.load(tmp_path / "again" / "best_model.pt", weights_only=True)
    assert again.keys() == more.keys()
    assert all(torch.equal(again[name], more[name]) for name in more)
    run = ScgptModel.load(write(tmp_path / "run", more, args={**ARGS, "domain_spec_batchnorm": "batchnorm"}))
    assert run.cfg.batch_norm == "run"
    assert not torch.equal(run.net(ids, values, mask).hidden, plain.net(ids, values, mask).hidden)


def test_without_flags_and_cell_head_and_with_zero_probabilities(tmp_path):
    tensors = {n: t for n, t in published().items() if not n.startswith(("flag_encoder", "mvc_decoder"))}
    for k, rows in ((0, 16), (2, 16), (4, 1)):
        tensors[f"decoder.zero_logit.{k}.weight"] = torch.ones(rows, 16)
        tensors[f"decoder.zero_logit.{k}.bias"] = torch.ones(rows)
    cfg = files.read(write(tmp_path / "m", tensors)).cfg
    assert (cfg.flags, cfg.mvc, cfg.zero_probability) == (False, False, True)


def test_special_tokens_that_the_vocabulary_lacks_are_appended(tmp_path):
    vocab = {gene: i for i, gene in enumerate(GENES)}
    found = files.read(write(tmp_path / "m", vocab=vocab))
    assert [found.vocab[token] for token in ("<pad>", "<cls>", "<eoc>")] == [6, 7, 8]
    shuffled = dict(reversed(list(found.vocab.items())))
    assert list(files.read(write(tmp_path / "s", vocab=shuffled)).vocab) == [*GENES, "<pad>", "<cls>", "<eoc>"]


@pytest.mark.parametrize(
    ("args", "vocab", "message"),
    [
        ({"embsize": None}, None, "embsize is None, no number"),
        ({"nheads": 3}, None, "no multiple of the 3 heads"),
        ({"input_style": "log1p"}, None, "reads 'log1p' values"),
        ({"input_emb_style": "other"}, None, "continuous, category, scaling"),
        ({}, {"a": 0, "b": 2}, "are not 0 ... 1"),
        ({}, {"a": 0, "b": "x"}, "no whole number"),
        ({"n_bins": 2}, None, "n_bins is 2"),
    ],
)
def test_side_files_that_cannot_be_are_named(tmp_path, args, vocab, message):
    with pytest.raises(InputError, match=message):
        files.read(write(tmp_path / "m", args={**ARGS, **args}, vocab=vocab))


@pytest.mark.parametrize("name", ["args.json", "vocab.json", "best_model.pt"])
def test_missing_and_broken_files_are_named(tmp_path, name):
    folder = write(tmp_path / "m")
    (folder / name).write_bytes(b"\x80nothing of the sort")
    with pytest.raises(InputError, match=name) as error:
        files.read(folder)
    assert "\n" not in str(error.value)
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"there is no {name}"):
        files.read(folder)


class Harmful:
    def __reduce__(self):
        return (print, ("code that must not run",))


def test_nothing_but_weights_is_unpickled(tmp_path, capfd):
    with pytest.raises(InputError, match="holds more than weights"):
        files.read(write(tmp_path / "m", {**published(), "x": Harmful()}))
    with pytest.raises(InputError, match="holds no state dict"):
        files.read(write(tmp_path / "n", [torch.ones(2)]))
    assert capfd.readouterr().out == ""


def test_the_side_files_of_a_real_checkpoint_are_read(tmp_path, real_data):
    """args.json and vocab.json of the published whole-human checkpoint, with the sizes of small weights."""
    real = json.loads((real_data / "vocab" / "scgpt_checkpoint_args.json").read_text())
    vocab = json.loads((real_data / "vocab" / "scgpt_checkpoint_vocab.json").read_text())
    small = {**real, "embsize": 16, "nlayers": 2, "nheads": 4, "d_hid": 8}
    folder = write(tmp_path / "m", published(n_tokens=len(vocab)), args=small, vocab=vocab)
    model = ScgptModel.load(folder)
    assert (model.cfg.n_bins, model.cfg.max_length, model.cfg.pad_value, model.cfg.mask_value) == (51, 1200, -2, -1)
    assert (model.cfg.value_style, model.cfg.pre_norm, model.cfg.dropout) == ("continuous", False, 0.2)
    assert (model.cfg.pad_id, len(model.genes)) == (vocab["<pad>"], 60694)
    assert all(model.vocab[gene] == vocab[gene] for gene in ("CD3D", "MALAT1", "<cls>"))
    model.save(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "args.json").read_text()) == small
    assert json.loads((tmp_path / "again" / "vocab.json").read_text()) == vocab
    with pytest.raises(InputError, match=r"missing: .*layers.2"):
        files.read(write(tmp_path / "real", published(n_tokens=len(vocab)), args=real, vocab=vocab))


WIDTH = 16


def discriminator():
    names = ("grad_reverse_discriminator._decoder.0", "grad_reverse_discriminator.out_layer")
    return {f"{name}.{part}": torch.ones(2) for name in names for part in ("weight", "bias")}


def with_batch_labels():
    """As integration without DSBN saves it: decoders read the batch beside the state, the encoder does not."""
    one, other = torch.ones(WIDTH, 2 * WIDTH), torch.ones(2 * WIDTH, WIDTH)
    wide = {"decoder.fc.0.weight": one, "mvc_decoder.W.weight": other}
    return {
        **wide,
        "batch_encoder.embedding.weight": torch.ones(2, WIDTH),
        "batch_encoder.enc_norm.weight": torch.ones(1),
    }


FINE_TUNED = {
    "discriminator": (discriminator(), "grad_reverse_discriminator (the discriminator of batches)"),
    "batch labels": (with_batch_labels(), "decoder (it reads batch labels), mvc_decoder (it reads batch labels)"),
    "another classifier": (
        {"cls_decoder.out_layer.weight": torch.ones(3, WIDTH), "cls_decoder.first.weight": torch.ones(2, 2)},
        "cls_decoder (a classifier)",
    ),
}


@pytest.mark.parametrize("name", FINE_TUNED)
def test_what_fine_tuning_adds_and_no_site_needs_is_left_unread_and_said(tmp_path, name, caplog):
    plain = ScgptModel.load(write(tmp_path / "plain"))
    more, said = FINE_TUNED[name]
    found = ScgptModel.load(write(tmp_path / "tuned", {**published(), **more}))
    assert said in caplog.text
    assert len(caplog.records) == 1
    ids, values, mask = torch.tensor([[7, 0, 3]]), torch.tensor([[-2.0, 5, 9]]), torch.ones(1, 3, dtype=torch.bool)
    assert torch.equal(found.net(ids, values, mask).hidden, plain.net(ids, values, mask).hidden)
    found.save(tmp_path / "again")
    assert ScgptModel.load(tmp_path / "again").fingerprint() == found.fingerprint()
    if name == "batch labels":
        assert "no mvc_decoder" in found.lacks("decode", "cell.raw")
        assert "no decoder that cellglass reads" in found.lacks("decode", "layers.1.resid")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("dsbn.bns.0.weight", "normalises each cell by the statistics of its batch .* without dsbn"),
        ("pert_encoder.weight", "flag of each perturbed gene.* without pert_encoder"),
    ],
)
def test_what_changes_activations_and_cannot_be_read_is_named(tmp_path, part, message):
    with pytest.raises(InputError, match=message):
        files.read(write(tmp_path / "m", {**published(), part: torch.ones(2, WIDTH)}))


def wrapped(kind, tensors):
    if kind == "training":
        return {"epoch": 3, "model_state_dict": tensors, "optimizer_state_dict": {}}
    if kind == "lightning":
        return {"state_dict": {f"model.{name}": tensor for name, tensor in tensors.items()}, "epoch": 1}
    return {f"_orig_mod.module.{name}": tensor.bfloat16() for name, tensor in tensors.items()}  # compiled, parallel


@pytest.mark.parametrize("kind", ["training", "lightning", "compiled"])
def test_weights_inside_of_something_else(tmp_path, kind):
    tensors = {name: tensor.bfloat16().float() for name, tensor in published().items()}
    expected = ScgptModel.load(write(tmp_path / "plain", tensors)).fingerprint()
    assert ScgptModel.load(write(tmp_path / kind, wrapped(kind, tensors))).fingerprint() == expected


def test_an_encoder_alone_gives_activations(tmp_path):
    alone = {name: t for name, t in published().items() if not name.startswith(("decoder", "mvc_decoder", "flag"))}
    found, whole = (ScgptModel.load(write(tmp_path / str(len(t)), t)) for t in (alone, published()))
    ids, values, mask = torch.tensor([[7, 1]]), torch.tensor([[-2.0, 5]]), torch.ones(1, 2, dtype=torch.bool)
    assert torch.equal(found.net(ids, values, mask).hidden, whole.net(ids, values, mask).hidden)
    assert found.net(ids, values, mask).expression is None


def test_other_names_of_the_file_of_weights(tmp_path):
    expected = ScgptModel.load(write(tmp_path / "m")).fingerprint()
    for name in ("model.pt", "model_e15.pt"):
        next((tmp_path / "m").glob("*.pt")).rename(tmp_path / "m" / name)
        assert load(tmp_path / "m").fingerprint() == expected
    other = {**published(), "flag_encoder.weight": torch.zeros(2, WIDTH)}
    torch.save(other, tmp_path / "m" / "model_e20.pt")
    with pytest.raises(InputError, match=r"several files of weights \(model_e15.pt, model_e20.pt\); name the one"):
        load(tmp_path / "m")
    assert load(tmp_path / "m" / "model_e15.pt").fingerprint() == expected
    assert load(str(tmp_path / "m" / "model_e20.pt")).fingerprint() != expected


def test_a_vocabulary_of_another_model_is_told_by_its_size(tmp_path):
    with pytest.raises(InputError, match=r"vocab.json has 3 tokens and the model 9"):
        files.read(write(tmp_path / "m", vocab={"<pad>": 0, "<cls>": 1, "<eoc>": 2}))


def test_a_whole_pickled_model_is_refused_with_the_way_out(tmp_path):
    write(tmp_path / "m")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "m" / "best_model.pt")
    with pytest.raises(InputError, match=r"whole pickled model.*torch.save\(model.state_dict\(\)"):
        files.read(tmp_path / "m")
