"""The first lines of a proposed section of ``params.yaml``."""

from collections.abc import Mapping, Sequence

from pipeline.config.resolve import KEY, preset_values
from pipeline.config.safe_yaml import safe_load
from pipeline.config.write import section_text
from pipeline.onboarding.preprocessing import Choice
from pipeline.onboarding.settings import SEEDS, Reasoned


def begin_section(name: str, remarks: Sequence[str], preset: Reasoned, preprocess: Mapping[str, Choice]) -> list[str]:
    """Return name, remarks, preset, seeds and what ``preprocess`` has otherwise than the preset, line by line."""
    usual = preset_values(preset[0])["preprocess"]
    lines = [f"  {name}:", *(f"    # {line}" for line in remarks)]
    lines += [f"    {KEY}: {preset[0]}  # {preset[1]}", section_text("seeds", list(SEEDS)), "    preprocess:"]
    for key, (value, why) in preprocess.items():
        if safe_load(value) != usual.get(key):
            lines.append(f"      {key}: {value}  # {why}")
    return lines
