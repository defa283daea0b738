"""A week of the service in minutes: poison in the inbox, steps of the clock, restarts, pauses. In `make soak`."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.machine import describe_machine
from tests.flows.conftest import Receiver
from tests.flows.poison import GOOD, KINDS
from tests.flows.service import Service, wait_until
from tests.flows.stepped_clock import SteppedClock
from tests.operations.tiny import new_images
from tests.repository import PROJECT, Repository

N_DELIVERIES = int(os.environ.get("WEEK_DELIVERIES", "200"))
N_IMAGES = 10
SECONDS_IN_THE_INBOX = 60.0

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0), pytest.mark.xdist_group("service")]


@pytest.fixture
def clock(tmp_path: Path) -> SteppedClock:
    return SteppedClock(tmp_path)


@pytest.fixture
def week(template: Repository, receiver: Receiver, clock: SteppedClock, tmp_path: Path) -> Iterator[Service]:
    """A service that lives by a clock of its own."""
    served = Service(template.copy(tmp_path / "repository"), receiver.url, environment=clock.environment)
    try:
        served.start()
        yield served
    finally:
        served.stop()


@dataclass
class Arrivals:
    """What was delivered when, and how long it lay in the inbox while the service was up."""

    inbox: Path
    delivered: list[str] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)

    def put(self, stem: str, kind: str, images: np.ndarray) -> None:
        self.delivered += (GOOD if kind == "good" else KINDS[kind]).put(self.inbox, stem, images)
        self.kinds[stem] = kind
        self._since[stem] = time.monotonic()

    def look(self) -> list[str]:
        """Return which deliveries still lie there."""
        there = [os.fsencode(path.name) for path in self.inbox.iterdir()]
        for stem in list(self._since):
            if not any(name.startswith(stem.encode()) for name in there):
                self.seconds[stem] = time.monotonic() - self._since.pop(stem)
        return list(self._since)

    def pause(self, seconds: float) -> None:
        """Do not count a time in which nobody could take deliveries in."""
        self._since = {stem: since + seconds for stem, since in self._since.items()}


def test_a_week(week: Service, clock: SteppedClock, tmp_path: Path) -> None:
    generator = np.random.default_rng(7)
    events = plan(generator)
    arrivals = Arrivals(week.layout.inbox)
    n_source = week.n_rows()
    kinds = ["good"] * (N_DELIVERIES - 2 * (N_DELIVERIES // 4)) + [
        list(KINDS)[k % len(KINDS)] for k in range(2 * (N_DELIVERIES // 4))
    ]
    generator.shuffle(kinds)
    week.layout.inbox.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    done: Counter[str] = Counter()
    for number, kind in enumerate(kinds):
        arrivals.put(f"week-{number:03d}", kind, new_images(N_IMAGES, seed=5000 + number))
        for event in events.get(number, []):
            done[event] += 1
            began = time.monotonic()
            carry_out(week, clock, event, generator)
            arrivals.pause(time.monotonic() - began)
        wait_until(lambda: len(arrivals.look()) <= 2, 600)
    wait_until(lambda: not arrivals.look(), 600)
    clock.step(0)
    week.finish("rebuild")
    check_rejected(week, arrivals)
    verified = verify(week, n_source, arrivals.delivered, tmp_path)
    slowest = max(arrivals.seconds.items(), key=lambda item: item[1])
    result = {
        "command": "make soak" if N_DELIVERIES == 200 else f"WEEK_DELIVERIES={N_DELIVERIES} make soak",
        "deliveries": dict(sorted(Counter(kinds).items())),
        "good_images": len(arrivals.delivered),
        "events": dict(sorted(done.items())),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "seconds_in_the_inbox": {
            "median": round(float(np.median(list(arrivals.seconds.values()))), 1),
            "longest": round(slowest[1], 1),
            "longest_is": arrivals.kinds[slowest[0]],
        },
        "verified_by_script": verified,
        "machine": describe_machine(),
    }
    (PROJECT / "benchmarks" / "results" / "week.json").write_text(json.dumps(result, indent=2) + "\n")
    assert slowest[1] <= SECONDS_IN_THE_INBOX, (arrivals.kinds[slowest[0]], slowest)


def plan(generator: np.random.Generator) -> dict[int, list[str]]:
    """Return what happens beside which delivery."""
    events: dict[int, list[str]] = {}
    for event, n in (("clock forward", 4), ("clock back", 4), ("restart", 4), ("kill", 4), ("pause", 3)):
        for number in generator.choice(N_DELIVERIES, n, replace=False):
            events.setdefault(int(number), []).append(event)
    return events


def carry_out(service: Service, clock: SteppedClock, event: str, generator: np.random.Generator) -> None:
    time.sleep(generator.uniform(0, 4))
    if event.startswith("clock"):
        clock.step(float(generator.uniform(600, 10_800)) * (1 if event == "clock forward" else -1))
        assert service.is_alive()
    elif event == "pause":
        pause_survives_a_restart(service)
    else:
        service.stop() if event == "restart" else service.kill()
        wait_until(lambda: not service.processes())
        service.start()


def pause_survives_a_restart(service: Service) -> None:
    """Pause the rebuild's schedule, restart, find it paused, and let it go on."""
    deployment = next(d for d in service.ask("/deployments/filter") if d["entrypoint"].endswith(".rebuild"))
    service.set_active(deployment, False)
    service.stop()
    service.start()
    found = service.deployment(deployment["id"])
    assert [schedule["active"] for schedule in found["schedules"]] == [False]
    service.set_active(found, True)


def check_rejected(service: Service, arrivals: Arrivals) -> None:
    """Every useless delivery lies in ``rejected/`` beside a reason, every other in ``done/``."""
    for folder, is_useless in (("rejected", True), ("done", False)):
        names = [os.fsencode(path.name) for path in (arrivals.inbox / folder).iterdir()]
        for stem, kind in arrivals.kinds.items():
            if kind == "good" or KINDS[kind].is_useless != is_useless:
                continue
            mine = [name for name in names if stem.encode() in name]
            reasons = [name for name in mine if name.endswith(b".reason.txt")]
            assert (len(mine) - len(reasons), len(reasons)) == (1, int(is_useless)), (kind, mine)


def verify(service: Service, n_source: int, delivered: list[str], folder: Path) -> Any:
    path = folder / "ledger.json"
    path.write_text(json.dumps({"n_source": n_source, "delivered": delivered}))
    script = str(Path(__file__).with_name("verify.py"))
    done = subprocess.run(
        [sys.executable, script, str(service.layout.published), str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
