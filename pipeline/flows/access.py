"""The secret of the service's Prefect server, and files around it that only their owner may read."""

import os
import secrets
from io import TextIOWrapper
from pathlib import Path

import httpx

from pipeline.core.errors import ResourceError

_USER = "facets"
_FEWEST_LETTERS = 8
_SECONDS = 10.0
_DATABASE = "prefect.db"


def secret_file(root: Path) -> Path:
    """Return the file with the secret of the embedded server: one line, ``user:password``."""
    return root / ".work" / "prefect" / "auth"


def own_secret(root: Path) -> str:
    """Return the secret of the embedded server, which the first start makes.

    To change it, write another ``user:password`` into the file, or delete it, and start the service again.

    Raises:
        ResourceError: the file cannot be read, or holds something else.
    """
    path = secret_file(root)
    make_private(path.parent)
    if not path.exists():  # one service runs at a time, so there is no race
        with os.fdopen(_open(path, os.O_WRONLY | os.O_EXCL), "w", encoding="utf-8") as file:
            file.write(f"{_USER}:{secrets.token_urlsafe(32)}\n")
    return read_secret(root)


def read_secret(root: Path) -> str:
    """Return the secret that a service has made.

    Raises:
        ResourceError: there is none, it cannot be read, or it is something else.
    """
    path = secret_file(root)
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ResourceError(
            f"the secret of the Prefect server must be readable in {path}, but: {reason}; start facets serve, as the "
            "user of the service"
        ) from None
    user, _, password = secret.partition(":")
    if not user or len(password) < _FEWEST_LETTERS or not (secret.isascii() and secret.isprintable()):
        raise ResourceError(
            f"{path} must hold one line user:password with a password of {_FEWEST_LETTERS} letters or more, but does "
            "not; delete it, and the next start makes a new one"
        )
    return secret


def require_access(url: str, secret: str | None) -> str | None:
    """Ask a server that somebody else runs whether it lets this process in.

    Args:
        url: of its API.
        secret: what this process has, ``user:password``.

    Returns:
        What is to be said about the server: it lets everybody in. A server that is away is waited for elsewhere.

    Raises:
        ResourceError: it wants another secret.
    """
    address = f"{url}/admin/version"
    user, _, password = (secret or "").partition(":")
    try:
        if httpx.get(address, timeout=_SECONDS).is_success:
            return f"the Prefect server at {url} lets everybody in, who can run commands as this user: see the runbook"
        answer = httpx.get(address, auth=(user, password), timeout=_SECONDS)
    except httpx.HTTPError:
        return None
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise ResourceError(
            f"the Prefect server at {url} wants another secret than PREFECT_API_AUTH_STRING, which is "
            f"{'set' if secret else 'not set'}; set it to the server's line user:password"
        )
    return None


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may enter, and close its files, which older releases left readable."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for path in folder.iterdir():
        if path.is_file() and not path.is_symlink():
            path.chmod(0o600)


def make_private_database(home: Path) -> None:
    """Make Prefect's database before Prefect does; the files that SQLite puts beside it get its permissions."""
    make_private(home)
    os.close(_open(home / _DATABASE, os.O_WRONLY))


def open_private(path: Path) -> TextIOWrapper:
    """Open a log, to append to it, that only its owner may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open(path, os.O_WRONLY | os.O_APPEND)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "a", encoding="utf-8")


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o600)
