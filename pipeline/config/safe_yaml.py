"""YAML of people and of other programs, by libyaml where PyYAML was built with it: seven times as fast."""

from collections.abc import Iterator
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader


class _Loader(SafeLoader):  # pyright: ignore[reportGeneralTypeIssues] - either of two classes
    """Refuses a key that stands twice in one section, of which PyYAML takes the last one; DVC refuses it, too."""

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        _require_distinct_keys(node)
        return node


def safe_load(text: str) -> Any:
    """Return what a text says.

    Raises:
        yaml.YAMLError: it is no YAML, or a key stands twice in one section.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - made of a safe one


def _require_distinct_keys(root: Any) -> None:
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # named by an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            lines: dict[tuple[str, str], int] = {}
            for key, value in node.value:
                waiting.append(value)
                if isinstance(key, yaml.ScalarNode):
                    line = key.start_mark.line + 1
                    if (key.tag, key.value) in lines:
                        first = lines[key.tag, key.value]
                        raise yaml.YAMLError(
                            f"the key {key.value!r} must stand once in a section, got it in line {first} and again in "
                            f"line {line}"
                        )
                    lines[key.tag, key.value] = line


def compose(text: str) -> Any:
    """Return the tree of nodes of a legal text, each with its place."""
    return yaml.compose(text, Loader=SafeLoader)


def events(text: str) -> Iterator[Any]:
    """Yield the parser's events of a legal text."""
    yield from yaml.parse(text, Loader=SafeLoader)
