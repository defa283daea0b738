"""Each command on a real repository with a published experiment."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from pipeline.config.safe_yaml import safe_load
from pipeline.core import storage
from pipeline.operations.locks import repository_lock
from tests.cli.calling import Facets
from tests.operations.tiny import new_images
from tests.repository import EXPERIMENT, REBUILD, Repository


def test_scan_says_whether_the_source_has_changed(facets: Facets, inside: Repository) -> None:
    unchanged = facets("scan", EXPERIMENT).out
    assert unchanged.startswith("tiny: unchanged; ")
    assert unchanged.endswith("\n  prepared last: none of 120 set aside\n")
    (inside.root / "data" / "own" / "images.npz").unlink()
    missing = facets("scan", EXPERIMENT)
    assert missing.code == 3
    assert "images.npz" in missing.err
    assert missing.err.count("\n") == 1
    (inside.root / "data" / "sources" / f"{EXPERIMENT}.json").unlink()
    inside.run("git", "checkout", "--quiet", "data/own")
    scanned = json.loads(facets("scan", EXPERIMENT, "--json").out)
    assert scanned["changed"] is True
    assert (scanned["source"], scanned["set_aside"], scanned["account"]) == ("npy", {}, None)


def test_params_explains_a_key_or_a_section(facets: Facets, inside: Repository) -> None:
    shown = facets("params", EXPERIMENT, "train.decay").out.splitlines()
    assert shown[0].startswith("train.decay: of learning_rate")
    assert shown[1:] == ["    legal: one of constant, cosine, restarts", "    value: restarts (params.yaml)"]
    section = json.loads(facets("params", EXPERIMENT, "publish.gate", "--json").out)
    assert [one["parameter"] for one in section][:2] == ["publish.gate", "publish.gate.min_occupied"]
    assert (section[1]["value"], section[1]["from"], section[1]["legal"]) == (0.0, "params.yaml", "number in [0, 1]")
    unknown = facets("params", EXPERIMENT, "train.batchsize")
    assert (unknown.code, unknown.err.count("\n")) == (2, 1)


def test_scan_starts_the_lists_that_dvc_expects(facets: Facets, inside: Repository) -> None:
    lists = [inside.root / "data" / name / f"{EXPERIMENT}.json" for name in ("joined", "removed")]
    for path in lists:
        path.unlink()
    assert facets("scan", EXPERIMENT).code == 0
    assert [json.loads(path.read_text()) for path in lists] == [[], []]
    assert len((inside.root / "hints" / f"{EXPERIMENT}.csv").read_text().splitlines()) == 1


def test_status_shows_stages_version_and_disk(facets: Facets, inside: Repository) -> None:
    shown = facets("status")
    assert shown.code == 0
    assert "tiny: version 1 (publish at " in shown.out
    assert shown.out.count(" fresh\n") == 7
    assert "published/tiny: " in shown.out
    inside.edit_params(lambda sections: sections["train"].update(learning_rate=1.0e-4))
    (state,) = json.loads(facets("status", EXPERIMENT, "--json").out)
    assert state["stages"]["train"] == "parameter train modified"
    assert facets("check", EXPERIMENT, "--deep").code == 0  # what status wrote to ask for it is no damage
    assert state["stages"]["score"] == "fresh"  # it follows only if the model differs
    assert state["published"]["version"] == 1
    assert state["mebibytes"]["artifacts/tiny"] > 0


def test_status_says_where_nothing_is_counted_and_batches_count_no_duplicates_of_the_source(
    facets: Facets, inside: Repository
) -> None:
    assert "  source     none of 120 set aside\n" in facets("status", EXPERIMENT).out
    (inside.root / "data" / "prepared" / EXPERIMENT / "quarantine.parquet").unlink()
    told = facets("status", EXPERIMENT).out
    assert "  source     what is set aside is not counted yet: facets rebuild does\n" in told
    train, test = facets("batches", EXPERIMENT).out.splitlines()
    assert train.endswith(" images, 0 quarantined")
    assert test.endswith(" images, 0 quarantined")


def test_status_tells_deliveries_that_were_rejected_as_a_whole(facets: Facets, inside: Repository) -> None:
    folder = inside.root / "data" / "inbox" / EXPERIMENT / "rejected"
    folder.mkdir(parents=True)
    for n in range(7):
        (folder / f"2026112{n}T080000-x.npy").touch()
        (folder / f"2026112{n}T080000-x.npy.reason.txt").write_text(f"x.npy: is empty, {n}\n")
    told = facets("status", EXPERIMENT).out
    assert told.count("  rejected   2026112") == 5
    assert "  rejected   20261126T080000-x.npy: x.npy: is empty, 6\n" in told
    assert "  rejected   7 deliveries in all; --json lists them" in told
    (state,) = json.loads(facets("status", EXPERIMENT, "--json").out)
    assert state["rejected"][-1] == {"name": "20261120T080000-x.npy", "reason": "x.npy: is empty, 0"}


def test_times_of_ingested_batches_have_a_form_in_json(facets: Facets, inside: Repository, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    for number, pixels in enumerate(new_images(5)):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "bad.png").touch()
    told = "1 of 6 set aside: 1 × is empty (0 bytes); deliver it again"
    assert told in facets("ingest", EXPERIMENT, str(folder)).out
    shown = facets("status", EXPERIMENT).out
    assert f"5 images, live; {told}" in shown
    assert "source     none of 120 set aside" in shown
    (state,) = json.loads(facets("status", EXPERIMENT, "--json").out)
    assert state["account"] == {"n_total": 120, "reasons": {}, "copies": 0, "removed": 0}
    (reasons,) = state["quarantine"].values()
    assert reasons == {"is empty (0 bytes); deliver it again": 1}
    listed = json.loads(facets("batches", EXPERIMENT, "--json").out)
    assert listed == state["batches"]
    created = [batch["created"] for batch in listed if batch["status"] == "live"]
    assert [datetime.fromisoformat(text).tzinfo for text in created] == [UTC]
    assert created[0] in facets("batches", EXPERIMENT).out


def test_status_answers_while_another_process_works(facets: Facets, inside: Repository) -> None:
    with repository_lock(inside.root, "rebuild tiny"):
        shown = facets("status")
    assert shown.code == 0
    assert "(rebuild tiny) has held its lock since" in shown.out


def test_status_says_once_who_holds_the_lock(facets: Facets, inside: Repository) -> None:
    with repository_lock(inside.root, "somebody"):
        shown = facets("status", EXPERIMENT, EXPERIMENT).out
    assert shown.count("somebody) has held its lock since") == 1
    assert shown.count("  stages     as above\n") == 1


def test_query_prints_columns_or_json(facets: Facets, inside_template: Repository) -> None:
    sql = "select facet, count(*) as n, 0.5::double as half, 'a' as word from clusters group by 1 order by 1"
    shown = facets("query", EXPERIMENT, sql).out.splitlines()
    assert [shown[0], *shown[2:]] == ["facet   n   half   word", "    0   4    0.5   a", "    1   3    0.5   a"]
    assert set(shown[1]) == {"─"}
    rows = json.loads(facets("query", EXPERIMENT, sql, "--json").out)
    assert rows[1] == {"facet": 1, "n": 3, "half": 0.5, "word": "a"}


def test_query_writes_all_rows_into_a_file(facets: Facets, inside_template: Repository, tmp_path: Path) -> None:
    path = tmp_path / "facet_0.csv"
    assert facets("query", EXPERIMENT, "from facet_0", "--output", str(path)).out == f"{path}: 120 rows\n"
    assert len(path.read_text().splitlines()) == 121
    told = json.loads(facets("query", EXPERIMENT, "from facet_0", "--output", str(path), "--json").out)
    assert told == {"file": str(path), "rows": 120}


def contents(root: Path) -> dict[Path, bytes]:
    """Return what an export might replace."""
    files = (path for path in root.rglob("*") if path.suffix in (".csv", ".json", ".parquet"))
    return {path: path.read_bytes() for path in files if path.is_file()}


def test_an_export_replaces_nothing_that_a_project_needs(facets: Facets, inside: Repository, tmp_path: Path) -> None:
    root = inside.root
    (root / "mine").mkdir(exist_ok=True)
    for path in ("tracked.csv", "mine/tracked.json"):
        (root / path).write_text("mine")
        inside.run("git", "add", path)
    manifest = root / "published" / EXPERIMENT / "manifest.json"
    (tmp_path / "linked.json").symlink_to(manifest)
    (tmp_path / "folder").symlink_to(root / "pipeline")
    (root / "data" / "leads_out.csv").symlink_to(tmp_path / "x.csv")
    other = tmp_path / "other"
    (other / "data").mkdir(parents=True)
    (other / "params.yaml").touch()
    before = contents(root)
    refused = {
        "an export must not lie in ": [
            *(str(manifest), "names/tiny.csv", "pipeline/../data/x.csv", "Published/tiny/manifest.json", "bin/x.csv"),
            *(
                ".dvc/x.csv",
                ".venv/x.csv",
                ".git/x.json",
                ".new/x.csv",
                "docs/deep/x.csv",
                "tests/x.csv",
                "stages/x.csv",
            ),
            *("deploy/x.json", "benchmarks/results/size.json", "mine/../pipeline/x.csv", "data/leads_out.csv"),
            *(f"{tmp_path}/linked.json", f"{tmp_path}/folder/x.csv", f"{other}/data/x.csv", f"{sys.prefix}/x.csv"),
            str(Path(storage.__file__).with_name("x.csv")),
        ],
        "an export must not replace a file that git tracks": ["tracked.csv", "mine/tracked.json"],
    }
    for rule, places in refused.items():
        for place in places:
            shown = facets("query", EXPERIMENT, "select 1", "--output", place)
            assert (shown.code, shown.out, shown.err.count("\n")) == (2, "", 1), place
            assert rule in shown.err, place
    assert contents(root) == before
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["linked.json"]
    for place in ("out.csv", "mine/out.csv", "new/folder/out.json", f"{other}/out.csv"):
        assert facets("query", EXPERIMENT, "select 1", "--output", place).code == 0, place
        assert (root / place).is_file()


@pytest.mark.parametrize("command", ["query", "status", "check", "ingest", "rebuild", "report", "batches", "remove"])
def test_a_path_is_no_experiment(facets: Facets, inside_template: Repository, command: str) -> None:
    more = {"query": ["select 1"], "ingest": ["data/own"], "remove": ["--batch", "b-0123456789ab"]}.get(command, [])
    shown = facets(command, "../tiny", *more)
    assert (shown.code, shown.out) == (2, "")
    assert shown.err.startswith("facets: experiment: a name is lower-case letters, digits and _")
    assert shown.err.count("\n") == 1


def test_query_cuts_long_results_for_people_and_not_for_machines(facets: Facets, inside_template: Repository) -> None:
    sql = "select image_id from images"
    lines = facets("query", EXPERIMENT, sql, "--rows", "3").out.splitlines()
    assert len(lines) == 6
    assert lines[-1] == "… 120 rows in all"
    assert len(json.loads(facets("query", EXPERIMENT, sql, "--json").out)) == 120


def test_query_gives_json_for_times_lists_and_numbers_that_are_none(
    facets: Facets, inside_template: Repository
) -> None:
    sql = "select 'nan'::double as a, timestamp '2026-01-02' as b, [1.5, null] as c, {'k': true} as d, 7::hugeint as e"
    (row,) = json.loads(facets("query", EXPERIMENT, sql, "--json").out)
    assert row == {"a": None, "b": "2026-01-02 00:00:00", "c": [1.5, None], "d": {"k": True}, "e": 7}
    assert "nan" in facets("query", EXPERIMENT, sql).out


@pytest.mark.parametrize("sql", ["select * from facets", "selec 1", "select nothing from clusters"])
def test_wrong_sql_is_one_line(facets: Facets, inside_template: Repository, sql: str) -> None:
    shown = facets("query", EXPERIMENT, sql)
    assert shown.code == 2
    assert shown.err.startswith("facets: a query must be SQL over the tables ")
    assert shown.err.count("\n") == 1


def test_a_query_that_computes_for_long_ends_when_it_is_told_to(inside_template: Repository, tmp_path: Path) -> None:
    command = [
        *inside_template.facets_command,
        "query",
        EXPERIMENT,
        "select sum(hash(range)) from range(1000000000000)",
    ]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=inside_template.root, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            while not list(tmp_path.glob("facets-query-*")):
                assert process.poll() is None
                time.sleep(0.05)
            time.sleep(1)
            process.terminate()
            assert process.wait(30) == 128 + signal.SIGTERM
        finally:
            process.kill()  # or a test that fails would wait for its end, and for ever
    assert list(tmp_path.iterdir()) == []


def test_query_of_nothing_published_is_one_line(facets: Facets, inside_template: Repository) -> None:
    other = inside_template.root / "published" / "other"
    other.mkdir()
    try:
        shown = facets("query", "other", "select 1")
    finally:
        other.rmdir()
    assert shown.code == 3
    assert shown.err.count("\n") == 1


WRONG = {
    2: [
        *(["query", "nope", "select 1"], ["batches", "nope"], ["tidy", "nope"], ["paper", "nope"], ["retrain", "nope"]),
        *(["name", "nope", "f0-c000", "x"], ["ingest", "nope", "data/own"], ["remove", "nope", "--image", "i-0"]),
        *(["new", EXPERIMENT, "data/own"], ["new", "Bad Name", "data/own"], ["remove", EXPERIMENT]),
        *(["remove", EXPERIMENT, "--batch", batch] for batch in ("b-0123456789ab", "train", "nonsense")),
        *(["remove", EXPERIMENT, "--image", image] for image in ("i-0123456789abcdef", "nonsense")),
        *(["publish", EXPERIMENT, "--version", number] for number in ("7", "0", "-1", "x")),
        *(["query", EXPERIMENT, "select 1", "--version", number] for number in ("7", "0", "-1", "x")),
        *(["query", EXPERIMENT, "select 1", "--rows", number] for number in ("-1", "x")),
        *(["query", EXPERIMENT, "select 1", "--output", name] for name in ("x", "x.txt", ".", "params.yaml/x.csv")),
        *(["name", EXPERIMENT, uid, "x"] for uid in ("f9-c000", "nonsense")),
        *([command, EXPERIMENT, "--wait", "-1"] for command in ("rebuild", "publish", "retrain")),
        *(["serve", "--port", port] for port in ("-1", "65535", "x")),
        *(["query", EXPERIMENT, "from nothing"], ["nope"], ["batches"]),
    ],
    3: [
        *([*command, name] for command in (["ingest", EXPERIMENT], ["new", "fresh"]) for name in ("gone", "gone.npy")),
        *(["ingest", EXPERIMENT, "params.yaml"], ["ingest", EXPERIMENT, "nope://x.npy"], ["new", "fresh", "names"]),
    ],
    7: [
        ["query", EXPERIMENT, "select 1", "--output", "/proc/x.csv"],
        ["query", EXPERIMENT, "select 1", "--output", f"{'x' * 300}.csv"],
    ],
}


def test_what_is_wrong_with_an_argument_is_2_and_with_data_3(facets: Facets, inside_template: Repository) -> None:
    asked = [(code, command) for code, commands in WRONG.items() for command in commands]
    assert [(code, command) for code, command in asked if facets(*command).code != code] == []


def test_publish_of_the_same_model_changes_nothing_and_a_rollback_may_be_asked_for(
    facets: Facets, inside: Repository
) -> None:
    assert facets("publish", EXPERIMENT).out == "tiny: version 1 in service already\n"
    assert json.loads(facets("publish", EXPERIMENT, "--json").out) == {"version": 1, "is_new": False}
    again = facets("publish", EXPERIMENT, "--version", "1").out
    assert again == (
        "tiny: version 1 in service already, with the model of version 1; --version changes the model alone: every "
        "batch stays in\n"
    )
    unknown = facets("publish", EXPERIMENT, "--version", "7")
    assert unknown.code == 2
    assert "version must be one of those kept (1), got 7" in unknown.err


def test_publish_refuses_a_collapsed_model_and_the_old_version_stays(facets: Facets, inside: Repository) -> None:
    inside.edit_params(lambda sections: sections["publish"]["gate"].update(min_confidence=1.0, min_occupied=1.0))
    path = inside.root / "artifacts" / EXPERIMENT / "model" / "model.json"
    model = json.loads(path.read_text())
    path.unlink()  # a link into DVC's cache
    path.write_text(json.dumps(model | {"model_version": "m-000000000000"}))
    refused = facets("publish", EXPERIMENT)
    assert refused.code == 3
    assert f"{path} must be as its stage wrote it, but was changed or damaged" in refused.err
    (inside.root / "dvc.lock").unlink()  # what DVC recorded is not believed of a model that no stage made
    shown = facets("publish", EXPERIMENT)
    assert shown.code == 5
    assert "m-000000000000 is not: " in shown.err
    assert "version 1 stays in service" in shown.err
    (line,) = [line for line in facets("status").out.splitlines() if "refused" in line]
    assert line.startswith(
        "  model      last one refused: m-000000000000: facet 0: share of occupied components must be "
    )
    assert json.loads(facets("query", EXPERIMENT, "select count(*) as n from facet_0", "--json").out) == [{"n": 120}]


def test_tidy_says_why_versions_went(facets: Facets, inside: Repository) -> None:
    (row,) = json.loads(facets("query", EXPERIMENT, "select image_id from images limit 1", "--json").out)
    assert facets("remove", EXPERIMENT, "--image", row["image_id"]).out.startswith("tiny: 1 image removed, version 2\n")
    shown = facets("tidy", EXPERIMENT).out
    assert "; versions deleted: 1 (images in them were removed)\n" in shown


def test_check_reads_everything_and_lists_what_is_wrong(facets: Facets, inside: Repository) -> None:
    good = facets("check")
    assert (good.code, good.out) == (0, "params.yaml: all is well\ntiny: all is well\n")
    part = next((inside.root / "published" / EXPERIMENT / "parts").rglob("facet_1.parquet"))
    part.unlink()
    bad = facets("check", EXPERIMENT, "--json")
    assert bad.code == 5
    assert "facet_1.parquet" in json.loads(bad.out)[EXPERIMENT][0]


def test_damage_is_named_refused_and_mended(facets: Facets, inside: Repository) -> None:
    folder = inside.root / "published" / EXPERIMENT
    before = facets("query", EXPERIMENT, "from facet_1 order by image_id", "--json").out
    part = next((folder / "parts").rglob("train/facet_1.parquet"))
    part.write_bytes(part.read_bytes()[:-100])
    for command in (["query", EXPERIMENT, "from facet_1"], ["publish", EXPERIMENT], ["rebuild", EXPERIMENT]):
        refused = facets(*command)
        assert refused.code == 3
        assert refused.err.splitlines()[-1].startswith(f"facets: {part} must be ")
        assert refused.err.splitlines()[-1].endswith("; run facets check --repair")
    found = facets("check", EXPERIMENT, "--deep")
    assert found.code == 5
    assert str(part) in found.out
    mended = facets("check", EXPERIMENT, "--repair", "--json")
    assert mended.code == 0
    (result,) = json.loads(mended.out).values()
    assert result["problems"] == []
    assert str(part) in result["mended"][0]
    assert facets("query", EXPERIMENT, "from facet_1 order by image_id", "--json").out == before
    assert facets("publish", EXPERIMENT).out == f"{EXPERIMENT}: version 1 in service already\n"


def test_outputs_of_stages_are_compared_byte_by_byte_and_come_back_from_dvc(facets: Facets, inside: Repository) -> None:
    damaged = [
        flipped(inside.root / "artifacts" / EXPERIMENT / "model" / "seed-1.safetensors"),
        flipped(inside.root / "data" / "prepared" / EXPERIMENT / "labels.parquet"),
    ]
    found = facets("check", EXPERIMENT, "--deep")
    assert found.code == 5
    assert all(f"{path} must be as dvc.lock states" in found.out for path in damaged)
    assert facets("check", EXPERIMENT, "--repair").code == 0
    assert facets("check", EXPERIMENT, "--deep").code == 0


def test_a_stage_that_has_not_finished_is_no_damage(facets: Facets, inside: Repository) -> None:
    shutil.rmtree(inside.root / "artifacts" / EXPERIMENT / "model")  # as DVC does before it runs the stage
    well = ["params.yaml: all is well"]
    line = "tiny: stage train has not finished; facets rebuild tiny goes on"
    for option in ("--deep", "--repair"):
        found = facets("check", EXPERIMENT, option)
        assert (found.code, found.out.splitlines()) == (0, [*well, line])
    damaged = inside.root / "data" / "prepared" / EXPERIMENT / "labels.parquet"
    damaged.unlink()
    found = facets("check", EXPERIMENT, "--deep")
    assert (found.code, found.out.splitlines()) == (5, [*well, f"tiny: {damaged} is missing", line])
    for folder in (inside.root / "artifacts" / EXPERIMENT, damaged.parent):
        shutil.rmtree(folder)
    found = facets("check", EXPERIMENT, "--deep")
    line = "tiny: what stages make is not here; dvc pull, or facets rebuild tiny, brings it"
    assert (found.code, found.out.splitlines()) == (0, [*well, line])


def flipped(path: Path) -> Path:
    """Flip a bit as a failing disk does: in place, and without a new time of change."""
    times, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return path


def test_check_of_an_experiment_that_has_published_nothing_says_so(facets: Facets, inside: Repository) -> None:
    inside.run("rm", "-r", "published")
    assert facets("check").out == "params.yaml: all is well\n"
    asked = facets("check", EXPERIMENT)
    assert asked.code == 5
    assert "run facets rebuild tiny" in asked.err


def test_report_composes_the_page_anew(facets: Facets, inside: Repository) -> None:
    page = inside.root / "published" / EXPERIMENT / "report.html"
    page.unlink()
    assert Path(facets("report", EXPERIMENT).out.strip()) == page
    assert "images.npz[" in page.read_text()
    facets("report", EXPERIMENT, "--no-paths")
    facets("report", EXPERIMENT)
    assert "images.npz[" not in page.read_text()
    facets("report", EXPERIMENT, "--paths")
    assert "images.npz[" in page.read_text()


def test_report_opens_the_page_or_says_that_it_cannot(
    facets: Facets, inside: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: not opened.append(address))
    shown = facets("report", EXPERIMENT, "--open")
    assert (shown.code, opened) == (0, [Path(shown.out.strip()).as_uri()])
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    without = facets("report", EXPERIMENT, "--open")
    assert without.code == 7
    assert "needs a browser" in without.err


def test_a_name_reaches_tables_and_page_and_can_be_taken_away(facets: Facets, inside: Repository) -> None:
    (first,) = json.loads(facets("query", EXPERIMENT, "select min(cluster_uid) as uid from facet_1", "--json").out)
    uid = first["uid"]
    sql = f"select distinct cluster_name from facet_1 where cluster_uid = '{uid}'"
    page = inside.root / "published" / EXPERIMENT / "report.html"
    assert facets("name", EXPERIMENT, uid, "Bars, upright", "--note", "by Ada").out == (
        f"tiny: {uid} is called Bars, upright\n"
    )
    assert json.loads(facets("query", EXPERIMENT, sql, "--json").out) == [{"cluster_name": "Bars, upright"}]
    assert '"name":"Bars, upright","note":"by Ada"' in page.read_text()
    assert facets("name", EXPERIMENT, uid, "").out == f"tiny: {uid} has no name any more\n"
    assert json.loads(facets("query", EXPERIMENT, sql, "--json").out) == [{"cluster_name": None}]
    assert "Bars, upright" not in page.read_text()


def test_a_name_that_reaches_the_tables_but_not_the_page_says_so(facets: Facets, inside: Repository) -> None:
    sql = "select any_value(cluster_uid) as uid from facet_1"
    uid = json.loads(facets("query", EXPERIMENT, sql, "--json").out)[0]["uid"]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # as a full disk: the page is larger
    try:
        shown = facets("name", EXPERIMENT, uid, "Bars")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert shown.code == 7
    assert f"names/tiny.csv and the tables have the new name of {uid}, but the page could not be composed" in shown.err
    assert "report.html must be writable, but: File too large" in shown.err
    sql = f"select distinct cluster_name from facet_1 where cluster_uid = '{uid}'"
    assert json.loads(facets("query", EXPERIMENT, sql, "--json").out) == [{"cluster_name": "Bars"}]


def test_a_name_for_no_cluster_is_refused(facets: Facets, inside: Repository) -> None:
    shown = facets("name", EXPERIMENT, "f7-c000", "x")
    assert shown.code == 2
    assert "got 'f7-c000'" in shown.err
    assert not (inside.root / "names").exists()


def test_paper_makes_tables_and_figures(facets: Facets, inside: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.paper.results._SWAP_PAIRS", 20)
    monkeypatch.setattr("pipeline.paper.probes.probe_table.__defaults__", (1,))
    monkeypatch.setenv("TORCH_HOME", str(inside.root))
    shown = facets("paper", EXPERIMENT, "--samples", "40", "--json")
    assert shown.code == 0
    files = json.loads(shown.out)["files"]
    tables = json.loads((inside.root / "paper/tiny.json").read_text())
    assert tables["diversity"]["pixel"]["generated"]["n_pairs"] == 20
    sql = "select cluster_id, cluster_uid, name from clusters where facet = 1"
    for row in json.loads(facets("query", EXPERIMENT, sql, "--json").out):
        title = tables["titles"]["facet_1"][row["cluster_id"]]
        assert title.rpartition(", ")[0] == (row["name"] or row["cluster_uid"])
    assert all((inside.root / file).stat().st_size for file in files)
    for expected in (
        "tiny.json",
        "table_1_probes.csv",
        "figures/tiny_swaps_facet_1.png",
        "figures/figure_10_stability.svg",
    ):
        assert f"paper/{expected}" in files
    assert inside.run("git", "status", "--porcelain").stdout == ""


def test_paper_of_what_is_not_trained_or_named_twice_is_refused(facets: Facets, inside: Repository) -> None:
    assert "may be named once" in facets("paper", EXPERIMENT, EXPERIMENT).err
    inside.run("rm", "-r", "artifacts/tiny/score")
    shown = facets("paper", EXPERIMENT)
    assert shown.code == 3
    assert shown.err == "facets: tiny must have a trained and scored model, got none; run facets rebuild tiny\n"


@pytest.mark.parametrize(
    "arguments", [["scan"], ["status"], ["rebuild"], ["publish"], ["report"], ["check"]], ids=lambda names: names[0]
)
def test_an_unknown_experiment_is_answered_with_the_known_ones(
    facets: Facets, inside_template: Repository, arguments: list[str]
) -> None:
    shown = facets(*arguments, "tinny")
    assert shown.code == 2
    assert shown.err == "facets: experiment 'tinny' is unknown; params.yaml has tiny\n"


def test_a_clone_rebuilds_what_was_published_elsewhere_only_if_asked(facets: Facets, inside: Repository) -> None:
    shutil.rmtree(inside.root / "published")
    shown = facets(*REBUILD)
    assert (shown.code, shown.out, shown.err.count("\n")) == (5, "", 1)
    assert "tiny was published elsewhere, as data/history/tiny.json tells" in shown.err
    (made,) = json.loads(facets(*REBUILD, "--new-history", "--json").out)
    assert (made["version"], made["is_new"]) == (1, True)
    assert facets(*REBUILD).code == 0


def test_an_experiment_is_dropped_only_with_yes(facets: Facets, inside: Repository) -> None:
    refused = facets("drop", EXPERIMENT, "--yes")
    assert refused.code == 2
    assert "active in params.yaml must name an experiment besides tiny" in refused.err
    params = safe_load((inside.root / "params.yaml").read_text())
    params["experiments"]["other"] = deepcopy(params["experiments"][EXPERIMENT])
    inside.write_params({**params, "active": [EXPERIMENT, "other"]})
    shown = facets("drop", EXPERIMENT).out
    assert "published/tiny" in shown
    assert "1 version, the newest of 120 images" in shown
    assert "stays   data/own/images.npz: your images" in shown
    assert "nothing is deleted yet; facets drop tiny --yes does it" in shown
    plan = json.loads(facets("drop", EXPERIMENT, "--json").out)
    assert (plan["deleted"], plan["experiment"]) == (False, EXPERIMENT)
    assert (inside.root / "published" / EXPERIMENT).exists()
    done = facets("drop", EXPERIMENT, "--yes").out
    assert done.splitlines()[0] == shown.splitlines()[0].replace("would be deleted", "deleted")
    assert not (inside.root / "published" / EXPERIMENT).exists()
    assert "other" in facets("status", "other").out
    assert facets("drop", EXPERIMENT).code == 2


@pytest.mark.parametrize("command", [["new", "own"], ["ingest", EXPERIMENT]])
def test_an_empty_path_is_not_the_folder_one_stands_in(facets: Facets, inside: Repository, command: list[str]) -> None:
    before = (inside.root / "params.yaml").read_bytes()
    refused = facets(*command, "")
    assert refused.code == 2
    assert "PATH must be a folder, a file or a URL, got an empty one" in refused.err
    assert (inside.root / "params.yaml").read_bytes() == before
