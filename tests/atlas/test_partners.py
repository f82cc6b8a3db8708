"""What `cellglass partners` left is read back for the concepts that it was asked of, and for no others."""

from pathlib import Path

import pandas as pd

from cellglass.atlas import open_atlas
from cellglass.atlas.partners import read_partners
from cellglass.atlas.schema import PARTNERS
from cellglass.atlas.summary import summarize
from cellglass.cli.console import show_summary
from synthetic import make_atlas


def test_suspects_stand_in_the_summary_until_the_atlas_is_made_anew(tmp_path: Path, capsys) -> None:
    atlas = open_atlas(make_atlas(tmp_path / "atlas", n_cells=120))
    assert summarize(atlas)["partners"] is None
    names = [concept["name"] for concept in summarize(atlas)["concepts"]][:2]
    latents = [int(atlas.concepts.var.loc[name, "latent"]) for name in names]
    table = pd.DataFrame(
        {
            "name": names * 2,
            "concept": latents * 2,
            "matching": ["donor", "donor", "control", "control"],
            "suspect": [True, False, False, True],
            "jaccard": 0.5,
        }
    )
    table.to_csv(atlas.path / PARTNERS, index=False)
    found = summarize(atlas)
    assert found["partners"] == {
        "donor": {"concepts": 2, "suspect": 1},
        "control": {"concepts": 2, "suspect": 1},
    }
    suspect = {concept["latent"]: concept["suspect_partners"] for concept in found["concepts"]}
    assert suspect.pop(latents[0]) == ["donor"]
    assert not any(suspect.values())
    show_summary(found)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Partners matched for donor: 1 of 2 concepts get other genes: {names[0]}" in shown
    assert "Partners matched for nothing (control): 1 of 2" in shown

    table.assign(name=["another", *names[1:], *names]).to_csv(atlas.path / PARTNERS, index=False)
    assert read_partners(atlas.path, atlas.concepts.var) is None
    (atlas.path / PARTNERS).write_text("no such table\n")
    assert read_partners(atlas.path, atlas.concepts.var) is None
