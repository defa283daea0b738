"""A million images cost no more time each, and no more memory in all, than some thousands."""

import json
import subprocess
import sys

import pytest

from tests.repository import PROJECT


@pytest.mark.soak
def test_a_million_images_of_32_by_32_in_colour() -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.size"], cwd=PROJECT, check=True)
    result = json.loads((PROJECT / "benchmarks" / "results" / "size.json").read_text())
    few, many = result["sizes"]
    assert (few["images"], many["images"]) == (50_000, 1_000_000)
    for stage in ("preprocess", "assign"):
        assert many[stage]["peak_mebibytes"] <= 2048, stage
        assert result[f"{stage}_processor_seconds_per_image_over_first"][1] <= 1.1, stage
