"""``params.yaml`` of an earlier release as it is written today: keys renamed, added and dropped, presets named.

What an experiment is does not change by it. Comments stay, but for remarks beside what goes or is written anew.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.config.load import parse_experiment, parse_text
from pipeline.config.resolve import KEY, flat, preset_names, preset_values
from pipeline.config.safe_yaml import compose
from pipeline.config.write import Edit, applied, experiments_of, flow_text, lines_of, section_text
from pipeline.core.errors import ConfigError
from pipeline.core.upgrades import PARAMETERS

Values = dict[str, Any]


def upgraded(text: str) -> str:
    """Return ``params.yaml`` in the form of this release.

    Args:
        text: of the file; lines end by a line feed alone.

    Raises:
        ConfigError: it is no YAML, or breaks a rule of this release in what no release before had otherwise.
    """
    sections = parse_text(text)["experiments"]
    today = {name: _today(section, f"experiments.{name}") for name, section in sections.items()}
    nodes = experiments_of(compose(text))
    edits = [edit for key, node in nodes for edit in _edits(text, key, node, sections[key.value], today[key.value])]
    after = applied(text, edits)
    found = parse_text(after)["experiments"]
    for name in today:
        where = f"experiments.{name}"
        if parse_experiment(found[name], where) != parse_experiment(today[name], where):
            raise ConfigError(f"{where} must stand one key a line to be upgraded, but is nested otherwise; write it so")
    return after


def _today(section: Any, where: str) -> Values:
    """Return a section as it is written today: a preset, and what it has otherwise."""
    if not isinstance(section, dict):
        raise ConfigError(f"{where} must be a section with keys, got {section!r}")
    plain = {key: value for key, value in section.items() if key != KEY}
    full = PARAMETERS.upgrade(plain, where)
    del full["schema"]
    parse_experiment({**full, KEY: section[KEY]} if KEY in section else full, where)
    if KEY not in section:
        own = {name: _different(preset_values(name), full) for name in preset_names()}
        nearest = min(own, key=lambda name: len(list(flat(own[name]))))
        return {KEY: nearest, **own[nearest]}
    different = _different(preset_values(section[KEY]), full)
    for name, values in full.items():
        if isinstance(values, dict):  # a key that the preset has as well is added to no section
            kept = plain[name].keys() | different.get(name, {}).keys()
            full[name] = {key: value for key, value in values.items() if key in kept}
    return {KEY: section[KEY], **full}


def _different(usual: Mapping[str, Any], values: Values) -> Values:
    """Return what a preset leaves out, or has otherwise."""
    found: Values = {}
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(usual.get(key), dict):
            inner = _different(usual[key], value)
            found |= {key: inner} if inner else {}
        elif key not in usual or value != usual[key] or isinstance(value, bool) != isinstance(usual[key], bool):
            found[key] = value
    return found


def _edits(text: str, key: Any, node: Any, section: Values, own: Values) -> list[Edit]:
    """Return what to write in place of what, in one experiment."""
    if own == section:
        return []
    if node.flow_style or _is_alias(key, node):
        indent = key.start_mark.column
        written = [f"{' ' * indent}{key.value}:", *(section_text(name, own[name], indent + 2) for name in own)]
        return [(*lines_of(text, key, node), "\n".join(written) + "\n")]
    indent, edits = node.value[0][0].start_mark.column, list[Edit]()
    if KEY not in section:
        start = lines_of(text, *node.value[0])[0]
        edits.append((start, start, f"{' ' * indent}{KEY}: {own[KEY]}\n"))
    for name, values in node.value:
        if name.value not in own:
            edits.append((*lines_of(text, name, values), ""))
        elif _is_alias(name, values) or own[name.value] != section[name.value]:
            edits += _section_edits(text, name, values, section[name.value], own[name.value])
    end = lines_of(text, *node.value[-1])[1]
    missing = own.keys() - {KEY, *(name.value for name, _ in node.value)}
    return edits + [(end, end, section_text(name, own[name], indent) + "\n") for name in own if name in missing]


def _section_edits(text: str, name: Any, node: Any, before: Any, own: Any) -> list[Edit]:
    """Return the edits of one section: of single lines where its keys stand one a line."""
    fields = {key.value for key, _ in node.value} if isinstance(before, dict) else set[str]()
    if _is_alias(name, node) or node.flow_style or "<<" in fields or not own.keys() <= fields:
        return [(*lines_of(text, name, node), section_text(name.value, own, name.start_mark.column) + "\n")]
    edits: list[Edit] = []
    for key, value in node.value:
        if key.value not in own:
            edits.append((*lines_of(text, key, value), ""))
        elif own[key.value] != before[key.value] or _is_alias(key, value):
            line = f"{' ' * key.start_mark.column}{key.value}: {flow_text(own[key.value])}\n"
            edits.append((*lines_of(text, key, value), line))
    return edits


def _is_alias(key: Any, node: Any) -> bool:
    return node.start_mark.index < key.start_mark.index
