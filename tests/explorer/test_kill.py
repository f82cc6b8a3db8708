"""Kill -9 of the real command while several people write: whatever was acknowledged is there afterwards."""

from __future__ import annotations

import http.client
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from live import Client

WRITERS = 5


class Running:
    """`cellglass explore` as a process of its own."""

    def __init__(self, atlas: Path, notes: Path) -> None:
        command = [sys.executable, "-m", "cellglass", "explore", str(atlas), "--no-browser", "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--notes", str(notes)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said = ""
        for line in self.process.stdout:
            said += line
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
                self.client = Client(int(found[1]))
                break
        else:
            raise AssertionError(said)

    def kill(self) -> None:
        """Kill it as a power cut would, as far as a process can tell."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self.process.stdout.close()


class Writers:
    """People who write, each on concepts of their own, until the server is gone or all is written."""

    def __init__(self, client: Client, notes: int, latents: int, turn: int) -> None:
        self.client, self.most, self.latents, self.turn = client, notes, latents, turn
        self.kept: dict[str, tuple[int, str]] = {}
        self.refused: list[str] = []
        self.sent = 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.write, args=(number,)) for number in range(WRITERS)]
        for thread in self.threads:
            thread.start()

    def write(self, number: int) -> None:
        bases: dict[int, Any] = {}
        for state in self.client.get("/api/notes").json["notes"].values():
            bases[state["latent"]] = state["person"]["id"]
        for count in range(self.most // WRITERS):
            latent = (count * WRITERS + number) % self.latents
            label = f"turn {self.turn}, writer {number}, note {count}"
            note = {"latent": latent, "who": f"w{number}", "base": bases.get(latent), "label": label, "text": "x" * 200}
            with self.lock:
                self.sent += 1
            try:
                answer = self.client.post("/api/notes", note)
            except (OSError, http.client.HTTPException):
                return
            if answer.status != 200:
                self.refused.append(answer.body.decode())
                return
            bases[latent] = answer.json["person"]["id"]
            with self.lock:
                self.kept[bases[latent]] = (latent, label)


def kill_while_writing(atlas: Path, file: Path, *, notes: int, kills: int, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    kept: dict[str, tuple[int, str]] = {}
    for turn in range(kills):
        server = Running(atlas, file)
        try:
            writers = Writers(server.client, notes, latents=20, turn=turn)
            enough = rng.randint(notes // 5, notes * 4 // 5)
            while len(writers.kept) < enough and any(thread.is_alive() for thread in writers.threads):
                time.sleep(0.001)
        finally:
            server.kill()
        for thread in writers.threads:
            thread.join(60)
        assert writers.refused == []
        assert enough <= len(writers.kept) < notes  # it was in the middle
        kept |= writers.kept
    server = Running(atlas, file)
    try:
        there = {}
        for latent in range(20):
            for revision in server.client.get(f"/api/notes/history?latent={latent}").json["revisions"]:
                there[revision["id"]] = (latent, revision["label"])
                assert revision["text"] == "x" * 200
        assert kept.items() <= there.items()
        assert len(there) <= len(kept) + WRITERS * kills  # and at most one of each writer that was not answered
        states = server.client.get("/api/notes").json["notes"]
        assert all(state["person"]["others"] == [] for state in states.values())
        base = states["3"]["person"]["id"]
        answer = server.client.post("/api/notes", {"latent": 3, "who": "Ada", "base": base, "label": "after"})
        assert answer.json["person"]["base"] == base
    finally:
        server.kill()
    with sqlite3.connect(file) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_every_acknowledged_note_survives_a_kill(full_folder: Path, tmp_path: Path) -> None:
    kill_while_writing(full_folder, tmp_path / "n.sqlite", notes=300, kills=1, seed=1)


@pytest.mark.slow
def test_every_acknowledged_note_of_a_thousand_survives_several_kills(full_folder: Path, tmp_path: Path) -> None:
    kill_while_writing(full_folder, tmp_path / "n.sqlite", notes=1000, kills=5, seed=2)
