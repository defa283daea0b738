"""A thousand files by the command line: seconds to queryable rows, beside a training, and what DVC notices of it."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.machine import describe_machine
from tests.datasets.pictures import BAD_FILES, write_bad_entries, write_bad_files
from tests.repository import EXPERIMENT, PROJECT, REBUILD, Repository

N_FILES = 1000
RESULTS = PROJECT / "benchmarks" / "results" / "delivery.json"


def write_pictures(folder: Path, numbers: range, kinds: tuple[str, ...] = ("png",)) -> str:
    """Write different grey pictures of 28×28 pixels, one a number."""
    folder.mkdir()
    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 256, (28, 28), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.{kinds[number % len(kinds)]}")
    return str(folder)


def ingest(repository: Repository, folder: str) -> dict[str, Any]:
    """Ingest, and count what readers see then; return the command's answer, rows and the seconds of both together."""
    start = time.monotonic()
    answer = json.loads(repository.facets("ingest", EXPERIMENT, folder, "--json").stdout)
    statement = f"select count(*) as n from facet_0 where batch_id = '{answer['batch_id']}'"
    ((row),) = json.loads(repository.facets("query", EXPERIMENT, statement, "--json").stdout)
    return {**answer, "rows": row["n"], "wall_seconds": round(time.monotonic() - start, 2)}


def dvc_status(repository: Repository) -> str:
    return repository.run(str(repository.root / ".venv" / "bin" / "dvc"), "status", "--json").stdout


@pytest.mark.soak
def test_a_thousand_files_are_rows_in_seconds(repository: Repository, tmp_path: Path) -> None:
    status = dvc_status(repository)
    alone = ingest(repository, write_pictures(tmp_path / "a", range(N_FILES)))
    assert (alone["n_images"], alone["rows"]) == (N_FILES, N_FILES)
    assert dvc_status(repository) == status

    again = ingest(repository, str(tmp_path / "a"))
    assert (again["n_images"], again["duplicates"]) == (0, N_FILES)
    half = ingest(repository, write_pictures(tmp_path / "b", range(N_FILES // 2, N_FILES * 3 // 2)))
    assert (half["n_images"], half["duplicates"]) == (N_FILES // 2, N_FILES // 2)

    mixed = ingest(repository, write_mixed(tmp_path))
    assert (mixed["n_images"], len(mixed["quarantined"]), mixed["rows"]) == (N_FILES - 30, 30, N_FILES - 30)
    assert all(len(reason) > 10 for _, reason in mixed["quarantined"])

    beside = ingest_beside_a_training(repository, write_pictures(tmp_path / "c", range(5000, 5000 + N_FILES)))
    assert (beside["n_images"], beside["rows"]) == (N_FILES, N_FILES)

    seconds = {"alone": alone["wall_seconds"], "beside a training": beside["wall_seconds"]}
    result = {
        "command": "make soak",
        "files": N_FILES,
        "seconds_from_ingest_to_answered_query": seconds,
        "dvc_status_unchanged": True,
        "mixed": {"files": N_FILES, "quarantined": len(mixed["quarantined"]), "rows": mixed["rows"]},
        "machine": describe_machine(),
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    assert max(seconds.values()) <= 12


def write_mixed(tmp_path: Path) -> str:
    """Write 970 good files and thirty bad ones."""
    folder = tmp_path / "mixed"
    write_pictures(folder, range(10_000, 10_000 + N_FILES - 30), ("png", "jpg"))
    write_bad_files(folder)
    entries = write_bad_entries(folder, tmp_path / "outside")
    for name in list(BAD_FILES)[30 - len(entries) :]:
        (folder / name).unlink()
    return str(folder)


def ingest_beside_a_training(repository: Repository, folder: str) -> dict[str, Any]:
    """Ingest while a training of the same experiment runs, which is ended afterwards."""

    def prolong(sections: dict[str, Any]) -> None:
        for phase in sections["train"]["phases"]:
            phase["epochs"] = 5000

    repository.edit_params(prolong)
    command = [*repository.facets_command, *REBUILD]
    with subprocess.Popen(command, cwd=repository.root, stderr=subprocess.PIPE, text=True) as training:
        assert training.stderr is not None
        assert any(f"Running stage 'train@{EXPERIMENT}'" in line for line in training.stderr)
        answer = ingest(repository, folder)
        assert training.poll() is None
        training.terminate()
        training.stderr.read()
    return answer
