"""Prefect's settings for this repository. Import and call before Prefect itself is imported."""

import os
from pathlib import Path

ROOT = "FACETS_ROOT"
"""Environment variable with the repository's root, for the processes that run flows."""

_HISTORY_DAYS = 90


def configure(root: Path) -> None:
    """Set what the environment leaves open: a home in the repository, no telemetry, no stored results.

    An existing server is used where ``PREFECT_API_URL`` names one; how long that keeps its history is set there.
    """
    settings = {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(root / ".work" / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        # Retries wait 2, 4, 8, … seconds: a server may be away for eight minutes before a run or the service gives up.
        "PREFECT_CLIENT_MAX_RETRIES": "8",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs,orphans",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(_HISTORY_DAYS * 86400),
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    os.environ[ROOT] = str(root)


def repository_root() -> Path:
    """Return the root that :func:`configure` was given, also in a process that a runner started."""
    return Path(os.environ.get(ROOT) or Path.cwd())
