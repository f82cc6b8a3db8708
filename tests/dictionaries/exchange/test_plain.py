"""In the units of the sites a dictionary computes what it computed before."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cellglass import dictionaries
from cellglass.dictionaries.exchange.plain import Plain, build, note_of, plain_of, remembered
from cellglass.errors import InputError


def by_hand(plain: Plain, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes and output of the formulas at the head of plain.py, row by row in float64."""
    codes, outs = [], []
    for row in x.double():
        q = plain.encoder @ (row if plain.transcodes else row - plain.bias)
        if plain.selection == "gated":
            p = plain.extra["log_magnitude"].exp() * q + plain.encoder_bias
            f = torch.where(q + plain.extra["gate_bias"] > 0, p.relu(), 0)
        else:
            p = q + plain.encoder_bias
            if plain.selection == "topk":
                f = torch.where(p >= p.sort().values[-plain.config["k"]], p.relu(), 0)
            else:
                f = torch.where(p > plain.extra["threshold"], p, 0)
        out = plain.bias + sum(f[j] * plain.decoder[j] for j in range(len(f)))
        codes.append(f)
        outs.append(out if plain.skip is None else out + plain.skip @ row)
    return torch.stack(codes), torch.stack(outs)


def test_folding_changes_no_code_and_no_output(draw, case, x, dense) -> None:
    kind, form = case
    dictionary = draw(kind, form)
    codes, out = by_hand(plain_of(dictionary, "here"), x)
    ours = dictionary.encode(x)
    assert 0 < (codes > 0).float().mean() < 0.7
    np.testing.assert_allclose(dense(ours), codes.numpy(), atol=1e-5)
    np.testing.assert_allclose(dictionary.decode(ours, x).numpy(), out.numpy(), atol=1e-5)


def test_folded_and_built_again_is_the_same_function_of_the_same_kind(draw, case, x, dense) -> None:
    kind, form = case
    dictionary = draw(kind, form)
    plain = plain_of(dictionary, "here")
    simpler = {"archetypal": "topk", "consensus": "jumprelu"}.get(kind)
    if simpler is not None:  # its points, or statistics, are not among the weights: what it computes is of that kind
        plain = replace(plain, kind=simpler, config={"k": dictionary.config.k})
    again = build(plain, "there")
    assert again.config == dictionary.config or simpler is not None
    assert not any(p.requires_grad for p in again.parameters())
    a, b = dictionary.encode(x), again.encode(x)
    np.testing.assert_allclose(dense(a), dense(b), atol=5e-6)
    np.testing.assert_allclose(dictionary.decode(a, x).numpy(), again.decode(b, x).numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["topk", "gated", "jumprelu"])
def test_taking_the_bias_off_the_input_or_not_are_inverse(draw, kind, x) -> None:
    plain = plain_of(draw(kind), "here")
    other = plain.around_zero()
    assert not torch.allclose(other.encoder_bias, plain.encoder_bias)
    codes, out = by_hand(plain, x)
    again, as_before = by_hand(replace(other, transcodes=True), x)
    assert torch.allclose(codes, again, atol=1e-12)
    assert torch.allclose(out, as_before, atol=1e-12)
    back = other.around_bias()
    assert torch.allclose(back.encoder_bias, plain.encoder_bias, atol=1e-12)
    assert all(torch.allclose(back.extra[name], plain.extra[name], atol=1e-12) for name in plain.extra)


def test_a_note_restores_the_kind_where_it_is_the_same_function(draw) -> None:
    nested = plain_of(draw("matryoshka"), "here")
    flat = replace(nested, kind="topk", config={"k": 3})
    assert remembered(flat, note_of(nested)).config == nested.config
    common = plain_of(draw("matryoshka_batchtopk"), "here")
    each = replace(common, kind="jumprelu", config={"k": 24})
    assert remembered(each, note_of(common)).kind == "matryoshka_batchtopk"


def test_a_note_that_does_not_fit_is_left_aside(draw) -> None:
    flat = plain_of(draw("topk"), "here")
    each = plain_of(draw("jumprelu"), "here")
    for plain, note in (
        (flat, {"kind": "matryoshka", "config": {"k": 4, "prefixes": [8, 24], "prefix_k": [1, 4]}}),  # another k
        (flat, {"kind": "matryoshka", "config": {"k": 3, "prefixes": [8, 99], "prefix_k": [1, 3]}}),  # too wide
        (flat, {"kind": "archetypal", "config": {"k": 3, "n_points": 30}}),  # its points are not in the file
        (flat, {"kind": "batchtopk", "config": {"k": 3}}),  # selects otherwise
        (flat, {"kind": "pca", "config": {}}),
        (flat, {"kind": "topk", "config": {"k": 3, "colour": "red"}}),
        (flat, {"kind": "topk"}),
        (flat, "topk"),
        (flat, None),
        (each, {"kind": "batchtopk", "config": {"k": 3}}),  # thresholds differ
    ):
        assert remembered(plain, note) is plain


def test_what_is_no_sparse_dictionary_is_refused(x) -> None:
    axes = dictionaries.fit("pca", x, n_components=3)
    with pytest.raises(InputError, match=r"kind 'pca' cannot be written for SAELens.*topk"):
        plain_of(axes, "SAELens")


def test_a_config_that_cannot_be_is_named_with_its_place(draw) -> None:
    plain = plain_of(draw("topk"), "here")
    with pytest.raises(InputError, match=r"^there: k is 99"):
        build(replace(plain, config={"k": 99}), "there")
