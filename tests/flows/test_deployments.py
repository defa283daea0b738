"""Schedules of the parameters as Prefect's."""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.config import Params, load_params
from pipeline.config.when import interval_of, interval_text
from pipeline.core.errors import ConfigError
from tests.repository import PROJECT


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("0 3 * * *", None),
        ("*/5 8-17 * * MON-FRI", None),
        ("every 1 hour", timedelta(hours=1)),
        ("every 90 minutes", timedelta(minutes=90)),
        ("every 2 days", timedelta(days=2)),
    ],
)
def test_when(when: str, expected: timedelta | None) -> None:
    assert interval_of(when) == expected
    if expected is not None:
        assert interval_text(expected) == when


def test_an_interval_is_shown_as_it_may_be_written() -> None:
    assert interval_text(timedelta(minutes=1)) == "every 1 minute"  # and not 0:01:00
    assert interval_text(timedelta(hours=24)) == "every 1 day"
    assert interval_text(timedelta(seconds=90)) == "every 90 seconds"  # somebody's own, added on its page


@pytest.mark.parametrize(
    "when",
    ["", "every hour", "every 0 hours", "every 2 weeks", "every 999999 days", "0 3 * *", "0 3 * * * *", "a; b c d e"],
)
def test_neither_cron_nor_interval(when: str) -> None:
    with pytest.raises(ValueError, match="a schedule must be a cron expression"):
        interval_of(when)


def with_schedule(**changes: str) -> Params:
    params = load_params(PROJECT)
    (name,) = params.active
    experiment = params.experiment(name)
    changed = replace(experiment, schedule=replace(experiment.schedule, **changes))
    return replace(params, experiments={**params.experiments, name: changed})


def test_times_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    from pipeline.flows.deployments import deployments_of

    with pytest.raises(ConfigError, match=r"must name times that exist, got '99 99 \* \* \*'"):
        deployments_of(with_schedule(rebuild="99 99 * * *"), tmp_path)


def test_an_interval_becomes_a_schedule_in_its_time_zone(tmp_path: Path) -> None:
    from pipeline.flows.deployments import deployments_of

    changed = with_schedule(rebuild="every 6 hours", timezone="Europe/Zurich")
    found = {
        each.flow_name: [one.schedule for one in each.schedules or []] for each in deployments_of(changed, tmp_path)
    }
    assert found["ingest"] == []
    assert [(one.interval, one.timezone) for one in found["rebuild"]] == [(timedelta(hours=6), "Europe/Zurich")]
    assert [one.interval for one in found["retrain"]] == [timedelta(hours=6)]
    assert [one.cron for one in found["tidy"]] == ["0 5 * * 0"]


def test_an_interval_does_not_begin_anew_with_every_start(tmp_path: Path) -> None:
    from pipeline.flows.deployments import deployments_of

    first, second = (deployments_of(with_schedule(rebuild="every 6 hours"), tmp_path) for _ in range(2))
    assert [each.schedules for each in first] == [each.schedules for each in second]


def test_deployments_are_of_one_repository(tmp_path: Path) -> None:
    from pipeline.flows.deployments import deployments_of
    from pipeline.flows.repository import repository_name

    (tmp_path / "one").mkdir()
    one = repository_name(tmp_path / "one")
    assert {each.name for each in deployments_of(with_schedule(), tmp_path / "one")} == {f"digits@{one}"}
    assert one.startswith("one-")
    assert repository_name(tmp_path / "two") != one


def test_a_repository_keeps_its_name_when_it_is_moved_and_a_copy_has_another(tmp_path: Path) -> None:
    from pipeline.flows.repository import repository_name

    (tmp_path / "first").mkdir()
    name = repository_name(tmp_path / "first")
    assert repository_name(tmp_path / "first") == name
    (tmp_path / "link").symlink_to(tmp_path / "first")
    assert repository_name(tmp_path / "link") == name
    moved = (tmp_path / "first").rename(tmp_path / "second")
    assert repository_name(moved) == name
    shutil.copytree(moved, tmp_path / "copy")
    assert repository_name(tmp_path / "copy") != name
    assert repository_name(moved) == name
