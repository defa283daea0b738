"""Parameters as text: a section on a line or two, and an experiment more in ``params.yaml``, whose comments stay."""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import yaml

from pipeline.config.safe_yaml import compose
from pipeline.core.errors import ConfigError


class _Dumper(yaml.SafeDumper):
    """Writes tuples, of which parameters are made, as lists."""


_Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)

Edit = tuple[int, int, str]
"""From where to where a text is replaced, and by what."""

_WIDTH = 90
_INDENT = 2  # of the keys below `experiments` in the text of a section


def section_text(name: str, values: Any, indent: int = 4) -> str:
    """Return a section, or another value of an experiment, as YAML that takes few lines.

    Args:
        name: its key.
        values: a record of :mod:`pipeline.config.sections`, or a plain value.
        indent: of the key, in spaces.
    """
    plain = asdict(values) if hasattr(values, "__dataclass_fields__") else values
    lines = [line.strip() for line in _flow(plain, _WIDTH).splitlines()]
    if len(lines) == 1:
        return f"{' ' * indent}{name}: {lines[0]}"
    return "\n".join(
        [f"{' ' * indent}{name}:", *(f"{' ' * (indent + 2 + (n > 0))}{line}" for n, line in enumerate(lines))]
    )


def flow_text(value: Any) -> str:
    """Return a plain value as YAML on one line."""
    return _flow(value, sys.maxsize).strip()


def _flow(plain: Any, width: int) -> str:
    text = yaml.dump(plain, Dumper=_Dumper, default_flow_style=True, sort_keys=False, allow_unicode=True, width=width)
    return text.removesuffix("...\n")


def with_experiment(text: str, name: str, section: str) -> str:
    """Return ``params.yaml`` with one experiment more, which is active; all else stays as it is, comments too.

    Args:
        text: of a legal file.
        name: of the experiment.
        section: its text, indented by two spaces.

    Raises:
        ConfigError: ``active`` or ``experiments`` stand there in a form that cannot be added to.
    """
    document = compose(text)
    active, experiments = _below(document, "active"), _below(document, "experiments")
    indent = experiments_of(document)[0][0].start_mark.column - _INDENT
    lines = [(" " * indent + line)[max(0, -indent) :] if line else line for line in section.splitlines()]
    end = experiments.end_mark.index
    head, tail = text[:end].rstrip(), text[end:]
    last = active.value[-1].end_mark.index
    if active.flow_style:
        more = f", {name}"
    else:
        last = text.find("\n", last) if "\n" in text[last:] else len(text)  # after a remark beside the last one
        more = f"\n{' ' * active.start_mark.column}- {name}"
    insertions = [
        (last, last, more),
        (len(head), end, "\n\n" + "\n".join(lines) + ("\n\n" if tail else "\n")),
    ]
    return applied(text, insertions)


def experiments_of(document: Any) -> list[tuple[Any, Any]]:
    """Return the nodes of names and sections of all experiments.

    Raises:
        ConfigError: they stand there in a form that cannot be changed.
    """
    experiments = _below(document, "experiments")
    if experiments.flow_style:
        raise ConfigError("experiments in params.yaml must be one key a line, got them in braces; write each on a line")
    return experiments.value


def applied(text: str, edits: Iterable[Edit]) -> str:
    """Return a text with parts of it replaced; what is inserted at one place stands there in the order given."""
    parts, end = list[str](), 0
    for start, stop, new in sorted(edits, key=lambda edit: edit[:2]):
        parts += [text[end:start], new]
        end = stop
    return "".join([*parts, text[end:]])


def with_values(text: str, name: str, changes: Mapping[str, tuple[Any, str]]) -> str:
    """Return ``params.yaml`` with other values in one experiment; a remark on their lines gives way to the reason.

    Args:
        text: of a legal file.
        name: of the experiment.
        changes: new plain value and reason by dotted key, e.g. ``model.sigma``.
    """
    for key, (value, why) in changes.items():
        start, end, new = _change(text, _below(_below(compose(text), "experiments"), name), key, flow_text(value), why)
        text = text[:start] + new + text[end:]
        named, section = _item(_below(_below(compose(text), "experiments"), name), key.partition(".")[0])
        start, end = named.end_mark.index + 1, section.start_mark.index
        if section.flow_style and "#" in text[start:end]:  # beside the name of a section in braces
            text = f"{text[:start]}  # {why}{text[start + text[start:].index(chr(10)) :]}"
    return text


def _change(text: str, experiment: Any, key: str, value: str, why: str) -> Edit:
    """Return where a value goes, and what is to stand there: in its place, or where its section or experiment ends."""
    section, _, field = key.partition(".")
    found = _find(experiment, section)
    if found is None:
        return _new_line(text, experiment, f"{section}: {{{field}: {value}}}  # {why}")
    item = _find(found[1], field)
    if item is not None:
        named, node = item
        # A block may be indented no further than its key, where one line of it would be taken for another key.
        start = node.start_mark.index if _is_inline(node) else text.index(":", named.end_mark.index) + 1
        return _replaced(text, start, _end_of(node, 0), value if _is_inline(node) else f" {value}", why)
    if found[1].flow_style:
        end = found[1].end_mark.index - 1
        return _replaced(text, end, end + 1, f"{', ' if found[1].value else ''}{field}: {value}}}", why)
    return _new_line(text, found[1], f"{field}: {value}  # {why}")


def _replaced(text: str, start: int, end: int, new: str, why: str) -> Edit:
    rest = text[end:].partition("\n")[0]
    remark = re.fullmatch(r"\s+#.*", rest)
    return start, end + (len(rest) if remark else 0), new + (f"  # {why}" if remark else "")


def _new_line(text: str, mapping: Any, line: str) -> Edit:
    first, last = mapping.value[0], mapping.value[-1]
    _, end = lines_of(text, *last)
    return end, end, f"{'' if text[:end].endswith(chr(10)) else chr(10)}{' ' * first[0].start_mark.column}{line}\n"


def line_of(text: str, name: str, key: str) -> int:
    """Return on which line of ``params.yaml`` a dotted key of an experiment stands, or else its section, from 1."""
    named, node = _item(_below(compose(text), "experiments"), name)
    for part in key.split("."):
        named, node = _find(node, part) or (named, None)
        if node is None:
            break
    return named.start_mark.line + 1


def _below(mapping: Any, key: str) -> Any:
    return _item(mapping, key)[1]


def _item(mapping: Any, key: str) -> Any:
    """Return the nodes of a key and of its value."""
    return next(item for item in mapping.value if item[0].value == key)


def _find(mapping: Any, key: str) -> Any:
    """Return the nodes of a key and of its value; None where it is left out."""
    return next((item for item in mapping.value if item[0].value == key), None)


def _is_inline(node: Any) -> bool:
    return isinstance(node, yaml.ScalarNode) or node.flow_style


def without_experiment(text: str, name: str) -> str:
    """Return ``params.yaml`` without an experiment and its place in ``active``; all else stays, comments too.

    A comment belongs to the section if it stands in it or, indented deeper than its name, right below it.

    Args:
        text: of a legal file.
        name: of the experiment, which it has.

    Raises:
        ConfigError: the experiment stands there in a form that cannot be cut out.
    """
    document = compose(text)
    active = _below(document, "active")
    cuts = [_section_place(text, key, value) for key, value in experiments_of(document) if key.value == name]
    for place, item in enumerate(active.value):
        if item.value == name:
            cuts.append(_flow_place(text, active, place) if active.flow_style else lines_of(text, item, item))
    return applied(text, ((start, stop, "") for start, stop in cuts))


def _section_place(text: str, key: Any, value: Any) -> tuple[int, int]:
    start, stop = lines_of(text, key, value)
    end = stop
    for line in text[stop:].splitlines(keepends=True):
        end += len(line)
        comment = line.lstrip()
        if comment.startswith("#") and len(line) - len(comment) > key.start_mark.column:
            stop = end
        elif comment:
            break
    # Of the empty lines on both sides one is enough to keep the rest apart, and none at the end of the file.
    if not text[stop:].partition("\n")[0].strip():
        start = text.find("\n", len(text[:start].rstrip())) + 1
    return start, stop


def lines_of(text: str, first: Any, last: Any) -> tuple[int, int]:
    """Return where the lines begin and end in which a node stands, or a key and its value."""
    start = text.rfind("\n", 0, first.start_mark.index) + 1
    stop = max(first.end_mark.index, _end_of(last, first.start_mark.index))
    stop = len(text[:stop].rstrip())  # a text of several lines ends behind the empty ones that follow it
    return start, text.find("\n", stop) + 1 or len(text)


def _end_of(node: Any, start: int) -> int:
    """Return where the last thing below a node ends; what an alias stands for has its place elsewhere, before it."""
    if node.start_mark.index < start:
        return start
    if _is_inline(node):
        return node.end_mark.index
    children = [child for pair in node.value for child in (pair if isinstance(pair, tuple) else (pair,))]
    return max([start, *(_end_of(child, start) for child in children)])


def _flow_place(text: str, active: Any, place: int) -> tuple[int, int]:
    """Return where an entry of a list in brackets stands, with the comma that parts it from another one."""
    items = active.value
    if place:
        start, stop = items[place - 1].end_mark.index, items[place].end_mark.index
    else:
        start = items[0].start_mark.index
        stop = items[1].start_mark.index if len(items) > 1 else items[0].end_mark.index
    if "#" in text[start:stop]:
        raise ConfigError(
            f"active in params.yaml must have no remark beside {items[place].value}, whose place is cut out; move it"
        )
    return start, stop


def with_one_experiment(text: str, name: str) -> str:
    """Return ``params.yaml`` with one of its experiments alone, which is active; of comments, those in it stay."""
    experiments = _below(compose(text), "experiments")
    start, stop = lines_of(text, *_item(experiments, name))
    return f"active: [{name}]\n\nexperiments:\n{text[start:stop]}"
