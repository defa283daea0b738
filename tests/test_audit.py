"""The audit of the lock, against a server of advisories on loopback."""

import json
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.audit import audit

LOCK = """sound==1.0 ; python_version < '99' \\
    --hash=sha256:00
broken==1.0 \\
    --hash=sha256:00
    # via sound
"""

pytestmark = pytest.mark.skipif(
    not Path(sys.executable).with_name("uv").exists(), reason="uv is not installed beside this Python: run make"
)


class Advisories(BaseHTTPRequestHandler):
    """Says that version 1.0 of package ``broken`` has a hole."""

    def do_POST(self) -> None:
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        hole = {"vulns": [{"id": "HOLE-1", "modified": "2026-01-01T00:00:00Z"}]}
        self._answer({"results": [hole if each["package"]["name"] == "broken" else {} for each in queries]})

    def do_GET(self) -> None:
        self._answer({"id": "HOLE-1", "summary": "anybody gets in", "modified": "2026-01-01T00:00:00Z", "affected": []})

    def _answer(self, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def advisories() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packages in a folder, which uv resolves without an index."""
    for name in ("sound", "broken"):
        with zipfile.ZipFile(tmp_path / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            about = f"{name}-1.0.dist-info"
            wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{about}/RECORD", "")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))


def test_a_package_with_a_known_hole_fails_the_audit(advisories: str) -> None:
    code, said = audit(LOCK, advisories)
    assert code == 1
    assert "broken 1.0" in said
    assert "HOLE-1: anybody gets in" in said
    assert "sound 1.0" not in said


def test_a_sound_lock_passes(advisories: str) -> None:
    assert audit("sound==1.0 \\\n", advisories) == (
        0,
        "audit: nothing is known against the 1 packages of requirements.lock",
    )


def test_without_advisories_one_line_says_so_and_nothing_fails() -> None:
    code, said = audit(LOCK, "http://127.0.0.1:9/")
    assert code == 0
    assert said.startswith("audit skipped: the advisories of http://127.0.0.1:9/ cannot be had (")
    assert "\n" not in said
