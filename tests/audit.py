"""Is a package of requirements.lock known to be vulnerable? ``python -m tests.audit``, a part of ``make lint``.

uv asks the advisories of osv.dev. It audits projects and scripts, so the lock becomes the dependencies of a script.
Where the advisories cannot be had, one line says so and nothing fails: a machine without a network lints, too.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.repository import PROJECT

ADVISORIES = "https://api.osv.dev/"

_FOUND = 1
_SECONDS = "5"


def audit(lock: str, advisories: str = ADVISORIES) -> tuple[int, str]:
    """Look up all packages of a lock.

    Args:
        lock: content of requirements.lock.
        advisories: a server that speaks OSV's protocol.

    Returns:
        The exit code, 1 where something is to be mended, and what to print.
    """
    packages = [found[1].strip() for found in re.finditer(r"^([\w.\[\],-]+==[^\\\n]+)", lock, re.MULTILINE)]
    listed = [f'#   "{package}",' for package in packages]
    script = ["# /// script", '# requires-python = ">=3.11"', "# dependencies = [", *listed, "# ]", "# ///"]
    waits = {"UV_HTTP_TIMEOUT": _SECONDS, "UV_HTTP_CONNECT_TIMEOUT": _SECONDS, "UV_HTTP_RETRIES": "0"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lock.py"
        path.write_text("\n".join(script) + "\n", encoding="utf-8")
        done = subprocess.run(
            [Path(sys.executable).with_name("uv"), "audit", "--script", path, "--service-url", advisories],
            env={**os.environ, **waits},
            capture_output=True,
            text=True,
        )
    if done.returncode == 0:
        return 0, f"audit: nothing is known against the {len(packages)} packages of requirements.lock"
    if done.returncode == _FOUND and done.stdout:
        return 1, done.stdout
    last = done.stderr.strip().rpartition("\n")[2].strip().removeprefix("cause: ")
    return 0, f"audit skipped: the advisories of {advisories} cannot be had ({last}); repeat it where they can"


if __name__ == "__main__":
    code, text = audit((PROJECT / "requirements.lock").read_text(encoding="utf-8"))
    print(text)
    sys.exit(code)
