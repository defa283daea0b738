"""Schedules of the parameters as Prefect's."""

from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline.config import load_params
from pipeline.config.when import interval_of
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


@pytest.mark.parametrize(
    "when", ["", "every hour", "every 0 hours", "every 2 weeks", "0 3 * *", "0 3 * * * *", "a; b c d e"]
)
def test_neither_cron_nor_interval(when: str) -> None:
    with pytest.raises(ValueError, match="a schedule must be a cron expression"):
        interval_of(when)


def test_an_interval_becomes_a_schedule_in_its_time_zone() -> None:
    from pipeline.flows.deployments import deployments_of

    params = load_params(PROJECT)
    (name,) = params.active
    experiment = params.experiment(name)
    schedule = replace(experiment.schedule, rebuild="every 6 hours", timezone="Europe/Zurich")
    changed = replace(params, experiments={**params.experiments, name: replace(experiment, schedule=schedule)})
    found = {each.flow_name: [one.schedule for one in each.schedules or []] for each in deployments_of(changed)}
    assert found["ingest"] == []
    assert [(one.interval, one.timezone) for one in found["rebuild"]] == [(timedelta(hours=6), "Europe/Zurich")]
    assert found["retrain"] == found["rebuild"] or len(found["retrain"]) == 1
    assert [one.cron for one in found["tidy"]] == ["0 5 * * 0"]
