"""The checker that ``--jaxtyping-packages`` names: beartype, which prepares a function when it is first called.

Every worker imports the whole library, and a test calls a small part of it: to prepare all of it takes a fifth of what
finding the tests takes.
"""

from collections.abc import Callable
from typing import Any

from beartype import beartype


def typechecked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what checks the arguments of a function, or what it returns, against its annotations."""
    checked: Callable[..., Any] | None = None

    def check(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked
        if checked is None:
            checked = beartype(function)
        return checked(*args, **kwargs)

    return check
