"""The server of the pages, asked by clients that mean no good: real sockets, real files."""

import http.client
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.flows.pages import served_pages
from pipeline.flows.vital import VitalThreads
from tests.flows.service import wait_until

PAGE = b"<!doctype html><title>a page</title>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of experiment ``tiny``."""
    path = tmp_path_factory.mktemp("pages") / "published" / "tiny" / "report.html"
    path.parent.mkdir(parents=True)
    path.write_bytes(PAGE)
    another = path.parents[1] / "health" / "report.html"
    another.parent.mkdir()
    another.write_bytes(b"of an experiment called health")
    return path


HEALTH: dict[str, Any] = {"healthy": True, "faults": []}


@pytest.fixture(scope="module")
def port(page: Path) -> Iterator[int]:
    """Where the page is served."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    with served_pages(
        page.parents[2], ["tiny", "health", "new"], "127.0.0.1", free, VitalThreads(), lambda: dict(HEALTH)
    ):
        yield free


def ask(port: int, path: str = "/tiny", method: str = "GET", host: str | None = None) -> tuple[int, bytes, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers={} if host is None else {"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.headers)
    finally:
        connection.close()


def test_a_page_says_what_browsers_may_do_with_it(port: int) -> None:
    status, content, headers = ask(port)
    assert (status, content) == (200, PAGE)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Python" not in headers["Server"]


def test_head_is_get_without_the_page(port: int) -> None:
    status, content, headers = ask(port, method="HEAD")
    assert (status, content, headers["Content-Length"]) == (200, b"", str(len(PAGE)))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_nothing_can_be_changed(port: int, method: str) -> None:
    assert ask(port, method=method)[0] == 501


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:4201", "LOCALHOST:1"])
def test_names_of_loopback_are_answered(port: int, host: str) -> None:
    assert ask(port, host=host)[:2] == (200, PAGE)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:4201", "127.0.0.1.evil.example", "localhost.", ""])
def test_another_name_is_refused_though_it_means_this_machine(port: int, host: str) -> None:
    status, content, _ = ask(port, host=host)
    assert status == 421
    assert PAGE not in content


@pytest.mark.parametrize(
    "path", ["/other", "/tiny/", "/new", "/-/", "/?", "/-/health/", "/tiny/../tiny", "/../params.yaml", "/%74iny"]
)
def test_there_is_nothing_else(port: int, path: str) -> None:
    assert ask(port, path)[0] == 404


def test_a_page_that_is_a_link_a_pipe_or_a_folder_is_none(port: int, page: Path) -> None:
    page.unlink()
    assert ask(port)[0] == 404
    page.symlink_to("/etc/hostname")
    assert ask(port)[0] == 404
    page.unlink()
    os.mkfifo(page)
    assert ask(port)[0] == 404
    page.unlink()
    page.mkdir()
    assert ask(port)[0] == 404
    page.rmdir()
    page.write_bytes(PAGE)
    assert ask(port)[0] == 200


def test_clients_that_say_nothing_keep_nobody_out(port: int) -> None:
    """More of them than the service may open files: it would lose its own."""
    this = psutil.Process()
    n_before = this.num_fds()
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
    for client in idle[::2]:
        client.sendall(b"GET /tiny HTT")
    assert ask(port)[:2] == (200, PAGE)
    wait_until(lambda: this.num_fds() < n_before + len(idle) + 40)  # these are both ends
    for client in idle:
        client.close()


def test_health_is_told_to_everybody_who_may_ask(port: int) -> None:
    status, body, _ = ask(port, "/-/health")
    assert (status, json.loads(body)) == (200, HEALTH)
    HEALTH.update(healthy=False, faults=["the scheduler is broken"])
    try:
        status, body, _ = ask(port, "/-/health")
        assert (status, json.loads(body)) == (503, HEALTH)
        assert ask(port, "/-/health", method="HEAD")[:2] == (503, b"")
    finally:
        HEALTH.update(healthy=True, faults=[])
    assert ask(port, "/-/health", host="evil.example")[0] == 421
    assert ask(port, "/health")[:2] == (200, b"of an experiment called health")


def test_the_root_lists_the_pages(port: int) -> None:
    """A person who has only the port finds the pages; an experiment without one has no link."""
    status, body, headers = ask(port, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    links = re.findall('href="([^"]*)"', body.decode())
    assert links == ["tiny", "health", "-/health"]
    assert all(ask(port, f"/{link}")[0] == 200 for link in links)
    assert "<li>new: nothing is published yet</li>" in body.decode()
    assert ask(port, "/", method="HEAD")[:2] == (200, b"")
    assert ask(port, "/", host="evil.example")[0] == 421
