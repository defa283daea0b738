"""What a run of the tests left out, said at its end: a green run of half of them must not look like all."""

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print each reason for skipping, which says how to have the tests, with their number."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if config.option.markexpr == "not soak":
        terminalreporter.section("not run")
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count:4} skipped: {reason}")
        terminalreporter.line("the long tests: make soak")
