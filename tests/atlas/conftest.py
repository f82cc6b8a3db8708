"""Synthetic atlases on disk, a plain one and one whose names try to be markup."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthetic import make_atlas


@pytest.fixture(scope="session")
def atlas_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_atlas(tmp_path_factory.mktemp("synthetic") / "atlas")


@pytest.fixture(scope="session")
def hostile_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_atlas(tmp_path_factory.mktemp("hostile") / "atlas", n_cells=200, n_concepts=10, hostile=True)
