"""Text that comes from outside (names of files, labels, messages of other programs) on its way to people.

A file's name may hold any byte but ``/`` and 0: line ends that forge a line of a log, escape sequences that a terminal
obeys, marks that turn the direction of writing round, bytes that are no UTF-8. Data keeps names as they are, as far as
UTF-8 can; what people see passes through here.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

_VARIES = re.compile(r"'[^']*'|0x[0-9a-f]+|\d+")
"""What reasons of one kind differ in: names, addresses, numbers."""

_REASONS_SHOWN = 5

_UNSAFE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Return text as one line that a terminal shows and never obeys: what it would obey is written as in Python."""
    return _UNSAFE.sub(_escape, text)


def printable_lines(text: str) -> str:
    """Return text of several lines, each as :func:`printable` gives it."""
    return "\n".join(map(printable, text.split("\n")))


def reason_of(error: object) -> str:
    """Return what an error of a library says as one line of at most 200 characters; its class where it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def counted(n: int, noun: str) -> str:
    """Return a number of things in words: ``1 image``, ``2 images``, ``0 batches``."""
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{n} {noun if n == 1 else plural}"


def percent(share: float) -> str:
    """Return a share as the page writes it: ``39 %``, with one digit behind the point below ten: ``2.9 %``."""
    return f"{100 * share:.{1 if 0 < share < 0.1 else 0}f} %"


def count_reasons(reasons: Iterable[str]) -> dict[str, int]:
    """Count reasons, the most frequent first; such as differ in names and numbers alone are one, with … for these."""
    counts: dict[tuple[str, ...], int] = {}
    varying: dict[tuple[str, ...], list[str]] = {}
    for reason in reasons:
        kind, details = tuple(_VARIES.split(reason)), _VARIES.findall(reason)
        counts[kind] = counts.get(kind, 0) + 1
        known = varying.setdefault(kind, details)
        if known != details:
            varying[kind] = [a if a == b else "…" for a, b in zip(known, details, strict=True)]
    found = {"".join(map("".join, zip(kind, [*varying[kind], ""], strict=True))): n for kind, n in counts.items()}
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def set_aside(n_total: int, reasons: Mapping[str, int]) -> str:
    """Return in words how many images were set aside, and why: ``3 of 20 set aside: 2 × is CMYK; 1 × is empty``.

    Args:
        n_total: all images, good and bad.
        reasons: as :func:`count_reasons` counts them.
    """
    if not reasons:
        return f"none of {n_total:,} set aside"
    counts = list(reasons.items())
    shown = [f"{n:,} × {reason}" for reason, n in counts[:_REASONS_SHOWN]]
    if rest := counts[_REASONS_SHOWN:]:
        shown.append(f"{sum(n for _, n in rest):,} for {counted(len(rest), 'other reason')}")
    return f"{sum(reasons.values()):,} of {n_total:,} set aside: {'; '.join(shown)}"


def to_json(value: Any) -> str:
    """Return JSON on one line that keeps data exactly and yet can be shown on a terminal; times are ISO 8601.

    Raises:
        ValueError: a number is not finite.
        TypeError: something that is neither JSON nor a time.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_time)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _time(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode("ascii")
