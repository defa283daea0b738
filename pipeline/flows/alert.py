"""Telling somebody outside what went wrong: one function, used by flows, by the service and by workers alike.

The receiver's address is a secret of many chat services. It is given in the environment, which the processes of runs
inherit; it is never stored on the Prefect server, where every reader of blocks could read it, and never logged.
"""

import copy
import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

from pipeline.core.errors import ConfigError, ResourceError
from pipeline.core.storage import write_json

ALERT_URL = "FACETS_ALERT_URL"
"""Environment variable with the address that gets alerts; without one, logs and Prefect's pages are all there is."""

_SECONDS_TO_DELIVER = 10.0
_RETRY_SECONDS = 60.0
_REPEAT_SECONDS = 24 * 3600.0  # a fault that lasts is told of again every day
_FLAPPING_SECONDS = 3600.0  # and one that comes and goes, every hour
_MOST_KEPT = 500


def check_alert_url(url: str) -> None:
    """Check the address that is to get alerts.

    Raises:
        ConfigError: it is no HTTP address; the message does not repeat it.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(
            "the address for alerts must begin with http:// or https:// and name a host, got another (hidden, "
            f"as it may be one); mend --alert-url or {ALERT_URL}"
        )


def send_alert(root: Path, key: str, text: str, address: str = "") -> bool:
    """Post ``{"text": …, "repository": …}``, if an address is set, and return whether this was news.

    The same alert is not sent again within a day, or within an hour once :func:`end_alerts` has said that its cause is
    gone; numbers in the text make no difference. An unreachable receiver fails nothing: it is tried again when the
    cause is seen again, a minute later at the earliest.

    Args:
        root: of the repository.
        key: names the cause, e.g. ``"rebuild digits"``.
        text: for people.
        address: where people see more, added to the text; another one does not make the alert another one.
    """
    url = os.environ.get(ALERT_URL)
    if not _is_news(root, key, text, bool(url)):
        return False
    if address:
        text = f"{text}; see {address}"
    logger = _logger()
    logger.error("%s", text)
    if url:
        failure = _post(url, {"text": text, "repository": str(root)})
        if failure:
            logger.warning("the alert could not be delivered: %s", failure)
        else:
            with suppress(OSError, ResourceError), _records(root) as records:
                if key in records:
                    records[key]["delivered"] = True
    return True


def end_alerts(root: Path, which: Callable[[str], bool]) -> None:
    """Say that the causes of some alerts, told by their keys, are gone: if they come back, that is news."""
    if _path(root).exists():
        with suppress(OSError, ResourceError), _records(root) as records:
            for key in filter(which, records):
                records[key]["is_over"] = True


def _post(url: str, body: dict[str, str]) -> str:
    """Return why the receiver did not take it, or nothing; errors of httpx may repeat the address."""
    try:
        answer = httpx.post(url, json=body, timeout=_SECONDS_TO_DELIVER)
    except Exception as error:  # noqa: BLE001 - whatever the network throws, what is reported matters more
        return type(error).__name__
    return "" if answer.is_success else f"the receiver answers {answer.status_code}"


def _is_news(root: Path, key: str, text: str, has_receiver: bool) -> bool:
    try:
        with _records(root) as records:
            record = records.get(key)
            if record is not None and record["text"] == _gist(text) and not _is_due(record, has_receiver):
                return False
            records[key] = {"text": _gist(text), "at": time.time(), "is_over": False, "delivered": False}
    except (OSError, ResourceError):
        pass  # a disk that is full is the more reason to tell somebody
    return True


def _is_due(record: dict[str, Any], has_receiver: bool) -> bool:
    if has_receiver and not record["delivered"]:
        wait = _RETRY_SECONDS
    else:
        wait = _FLAPPING_SECONDS if record["is_over"] else _REPEAT_SECONDS
    # A clock that was set back must not silence anything.
    return not 0 <= time.time() - record["at"] < wait


def _gist(text: str) -> str:
    return re.sub(r"[0-9]+", "#", text)


@contextmanager
def _records(root: Path) -> Iterator[dict[str, dict[str, Any]]]:
    """Yield what was sent, key to record, and keep what the block changes; processes take turns."""
    path = _path(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            records = json.loads(path.read_text(encoding="utf-8"))
            if not all(record.keys() >= {"text", "at", "is_over", "delivered"} for record in records.values()):
                records = {}
        except (OSError, ValueError, AttributeError):
            records = {}
        before = copy.deepcopy(records)
        yield records
        if records != before:
            write_json(path, dict(sorted(records.items(), key=lambda item: item[1]["at"])[-_MOST_KEPT:]))


def _path(root: Path) -> Path:
    return root / ".work" / "alerts.json"


def _logger() -> Any:
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("facets.alert")
