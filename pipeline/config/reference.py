"""What each parameter means and may be, read from where it stands: the fields of the sections and their comments.

A field's meaning is the comment right above it and the one behind it; a section without either means what the first
line of its record says.
"""

import ast
import inspect
import io
import tokenize
import types
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pipeline.config.parse import Amounts, OneOf
from pipeline.config.sections import Experiment
from pipeline.core.errors import ConfigError

_PLAIN = {bool: "true or false", int: "whole number", float: "number", str: "text", types.NoneType: "null"}


@dataclass(frozen=True)
class Meaning:
    """What is to be known of a parameter, or a section of them, for people.

    Attributes:
        key: dotted.
        meaning: in words.
        legal: which values it takes.
    """

    key: str
    meaning: str
    legal: str


def meanings(record: Any = Experiment, prefix: str = "") -> Iterator[Meaning]:
    """Yield every parameter of a record and, behind each section, those of the section."""
    kinds = get_type_hints(record, include_extras=True)
    for name, comment in _comments(record).items():
        section = _section_in(kinds[name])
        yield Meaning(prefix + name, comment or _first_line(section), _legal(kinds[name]))
        if section is not None:
            yield from meanings(section, f"{prefix}{name}.")


def meanings_at(key: str) -> list[Meaning]:
    """Return a parameter, or a section and all that is in it.

    Raises:
        ConfigError: there is none of that key; the message lists those of the section that comes nearest.
    """
    known = list(meanings())
    found = [one for one in known if one.key == key or one.key.startswith(f"{key}.")]
    if found:
        return found
    section, legal = key, list[str]()
    while not legal:
        section = section.rpartition(".")[0]
        legal = [one.key.rpartition(".")[2] for one in known if one.key.rpartition(".")[0] == section]
    of = f" of {section}" if section else ""
    raise ConfigError(f"parameter {key!r} is unknown; legal keys{of}: {', '.join(legal)}")


def _comments(record: Any) -> dict[str, str]:
    """Return the comment of each field, empty where it has none."""
    source = inspect.getsource(record)
    lines, found = source.splitlines(), dict[str, str]()
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    (record_node,) = ast.parse(source).body
    assert isinstance(record_node, ast.ClassDef)
    for node in record_node.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first = node.lineno
            while lines[first - 2].lstrip().startswith("#"):
                first -= 1
            numbers = range(first, (node.end_lineno or node.lineno) + 1)
            found[node.target.id] = " ".join(comments[number] for number in numbers if number in comments)
    return found


def _section_in(kind: Any) -> Any:
    """Return the record that a value, or each entry of a list, is; None for plain values."""
    if isinstance(kind, type) and is_dataclass(kind):  # bounds are records, too
        return kind
    return next((section for inner in get_args(kind) if (section := _section_in(inner)) is not None), None)


def _first_line(section: Any) -> str:
    return "" if section is None else (inspect.getdoc(section) or "").split("\n")[0].replace("``", "").removesuffix(".")


def _legal(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _by_rule(*inner)
    if origin in (Union, types.UnionType):
        return ", or ".join(map(_legal, inner))
    if origin is Literal:
        return f"one of {', '.join(inner)}"
    if origin is tuple:
        return f"list, each a {_legal(inner[0])}".replace("a one of", "one of")
    if is_dataclass(kind):
        return f"section with {', '.join(get_type_hints(kind))}"
    return _PLAIN[kind]


def _by_rule(kind: Any, rule: Any) -> str:
    if isinstance(rule, OneOf):
        return f"one of {', '.join(rule.choices)}"
    if isinstance(rule, Amounts):
        return f"section with some of {', '.join(f'{name} {amounts}' for name, amounts in rule.ranges.items())}"
    return f"{_legal(kind)} in {rule}"
