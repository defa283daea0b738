"""Tables of what parameters may name: a name, where its class lies, what is known of it before it is imported."""

from importlib import import_module
from typing import Any


def look_up(package: str, place: str) -> Any:
    """Return a class below a package; its module is imported only now.

    Args:
        package: the package's dotted name.
        place: module and class, e.g. ``digits.Digits``.
    """
    module, name = place.split(".")
    return getattr(import_module(f"{package}.{module}"), name)
