"""When a flow runs: a cron expression of five fields, or ``every 6 hours``."""

import re
from datetime import timedelta
from zoneinfo import ZoneInfo

from pipeline.core.text import counted

_EVERY = re.compile(r"every ([1-9][0-9]{0,4}) (minutes?|hours?|days?)")
_CRON_FIELD = re.compile(r"[0-9A-Za-z*/,#-]+")


def interval_of(when: str) -> timedelta | None:
    """Return the interval that ``every 6 hours`` names, or ``None`` for a cron expression.

    Raises:
        ValueError: it is neither.
    """
    every = _EVERY.fullmatch(when)
    if every:
        return timedelta(**{f"{every[2].removesuffix('s')}s": int(every[1])})
    fields = when.split()
    if len(fields) == 5 and all(_CRON_FIELD.fullmatch(field) for field in fields):
        return None
    raise ValueError(
        "a schedule must be a cron expression of five fields, or 'every' with a number (below 100000) of minutes, "
        f"hours or days, got {when!r}"
    )


def interval_text(interval: timedelta) -> str:
    """Return an interval as params.yaml may have it, in the largest unit that divides it; seconds where none does.

    Prefect's server, which is asked what a schedule is, keeps a length of time and not how it was written.
    """
    units = (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)))
    for name, unit in units:
        if not interval % unit:
            return f"every {counted(interval // unit, name)}"
    return f"every {interval.total_seconds():g} seconds"


def check_time_zone(name: str) -> None:
    """Check that a time zone is known.

    Raises:
        ValueError: it is not.
    """
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise ValueError(f"a time zone must be a name like UTC or Europe/Zurich, got {name!r}") from None
