"""YAML of people and of other programs, by libyaml where PyYAML was built with it: seven times as fast."""

from collections.abc import Iterator
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader


def safe_load(text: str) -> Any:
    """Return what a text says.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    return yaml.load(text, Loader=SafeLoader)


def compose(text: str) -> Any:
    """Return the tree of nodes of a legal text, each with its place."""
    return yaml.compose(text, Loader=SafeLoader)


def events(text: str) -> Iterator[Any]:
    """Yield the parser's events of a legal text."""
    yield from yaml.parse(text, Loader=SafeLoader)
