import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.core.errors import DataError, ResourceError
from pipeline.datasets.files.download import RemoteFile, download

CONTENT = bytes(range(256)) * 1000
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@dataclass
class Mirrors:
    """A local HTTP server: what it answers by path, and what it was asked."""

    address: str
    answers: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def remote(self, *names: str, checksum: str = CHECKSUM) -> RemoteFile:
        return RemoteFile("data.bin", [f"{self.address}/{name}" for name in names], checksum)


@pytest.fixture
def mirrors() -> Iterator[Mirrors]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            answers = found.answers.get(self.path.strip("/"), [(404, b"")])
            status, body = answers[0] if len(answers) == 1 else answers.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(CONTENT) if status == 200 else len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Mirrors(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_a_file_is_fetched_with_progress(mirrors: Mirrors, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mirrors.answers["a"] = [(200, CONTENT)]
    path = download(mirrors.remote("a"), tmp_path / "raw")
    assert path == tmp_path / "raw" / "data.bin"
    assert path.read_bytes() == CONTENT
    assert capsys.readouterr().err == f"download data.bin: {len(CONTENT)}/{len(CONTENT)} bytes\n"


def test_md5_checksums_are_understood(mirrors: Mirrors, tmp_path: Path) -> None:
    mirrors.answers["a"] = [(200, CONTENT)]
    checksum = f"md5:{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}"
    assert download(mirrors.remote("a", checksum=checksum), tmp_path).read_bytes() == CONTENT


def test_a_failing_server_is_asked_again(mirrors: Mirrors, tmp_path: Path) -> None:
    mirrors.answers["a"] = [(500, b"busy"), (200, CONTENT)]
    assert download(mirrors.remote("a"), tmp_path).read_bytes() == CONTENT
    assert mirrors.asked == ["/a", "/a"]


def test_a_broken_connection_is_tried_again(mirrors: Mirrors, tmp_path: Path) -> None:
    mirrors.answers["a"] = [(200, CONTENT[:1000]), (200, CONTENT)]
    assert download(mirrors.remote("a"), tmp_path).read_bytes() == CONTENT


def test_the_second_address_is_asked_when_the_first_fails(mirrors: Mirrors, tmp_path: Path) -> None:
    mirrors.answers["b"] = [(200, CONTENT)]
    assert download(mirrors.remote("a", "b"), tmp_path).read_bytes() == CONTENT
    assert mirrors.asked == ["/a", "/a", "/a", "/b"]


def test_a_wrong_checksum_is_refused_and_the_next_address_asked(mirrors: Mirrors, tmp_path: Path) -> None:
    mirrors.answers["a"] = [(200, CONTENT[::-1])]
    mirrors.answers["b"] = [(200, CONTENT)]
    assert download(mirrors.remote("a", "b"), tmp_path).read_bytes() == CONTENT


def test_nothing_is_left_of_a_wrong_file(mirrors: Mirrors, tmp_path: Path) -> None:
    mirrors.answers["a"] = [(200, CONTENT[::-1])]
    with pytest.raises(DataError, match=r"no address delivered it .*/a: .*hash.* does not match"):
        download(mirrors.remote("a"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_offline_the_message_says_what_to_do_by_hand(tmp_path: Path) -> None:
    file = RemoteFile("data.bin", ["http://127.0.0.1:9/data.bin"], CHECKSUM)
    with pytest.raises(DataError) as caught:
        download(file, tmp_path)
    message = str(caught.value)
    assert message.startswith("data.bin must be downloaded, but no address delivered it (http://127.0.0.1:9/data.bin: ")
    assert f"without a network copy the file ({CHECKSUM}) from another machine to {tmp_path / 'data.bin'}" in message


def test_a_folder_that_cannot_be_written_is_no_fault_of_the_network(
    mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ResourceError, match=r"must take data.bin, but .*Permission denied; mend it and run again"):
        download(mirrors.remote("a"), tmp_path / "raw")
