"""The checker that ``--jaxtyping-packages`` names: beartype, as often as it may find something.

Every worker imports the whole library, and a test calls a small part of it: a function is prepared when it is first
called. A training calls the same few functions thousands of times, and checking all of these takes twice as long as
training: in every test the first :data:`CALLS` of each function are checked, which for the trainings here is an epoch
with its ragged end.
"""

import inspect
import sys
from collections import Counter
from collections.abc import Callable
from types import FunctionType
from typing import Any

from beartype import beartype

CALLS = 100

_Name = tuple[str, str]
"""Module, and qualified name in it."""

_seen: Counter[_Name] = Counter()
_left: list[FunctionType] = []


def typechecked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what checks the arguments of a function, or what it returns, against its annotations."""
    checked: Callable[..., Any] | None = None
    name = (function.__module__, function.__qualname__)

    def check(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked
        if checked is None:
            checked = beartype(function)
        _seen[name] += 1
        if _seen[name] == 2 * CALLS:  # once for the arguments and once for what is returned
            _leave(name)
        return checked(*args, **kwargs)

    return check


def begin() -> None:
    """Have all functions checked again."""
    for function in _left:
        del function.__no_type_check__
    _left.clear()
    _seen.clear()


def _leave(name: _Name) -> None:
    """Have jaxtyping check a function no more, by the mark of ``typing.no_type_check``; a local one stays checked."""
    found: Any = sys.modules[name[0]]
    for part in name[1].split("."):
        found = inspect.getattr_static(found, part, None)
    found = getattr(found, "__func__", getattr(found, "fget", found))  # of a static or class method, of a property
    if isinstance(found, FunctionType):
        found = inspect.unwrap(found)  # jaxtyping's wrapper may lie in that of another decorator
        found.__no_type_check__ = True
        _left.append(found)
