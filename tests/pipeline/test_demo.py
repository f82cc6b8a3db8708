"""The demo's settings fit the bundled cells."""

from cellglass.cells import demo_cells
from cellglass.pipeline.demo import LABELS, demo_config


def test_the_labels_of_the_demo_are_columns_of_the_bundled_cells() -> None:
    assert demo_config(3).seed == 3
    assert demo_config().cells.labels == LABELS
    cells = demo_cells()
    assert all(cells.column(name).nunique() >= 3 for name in LABELS)
