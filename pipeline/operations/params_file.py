"""``params.yaml`` as the program changes it: one process at a time, checked first, in the file's own manner."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from pipeline.config import Params, load_params
from pipeline.core.errors import ResourceError
from pipeline.core.storage import atomic_file
from pipeline.operations.locks import params_lock

Change = Callable[[str, Params], str]
"""From the text of the file, its lines ended by ``\\n``, and what it says, to the text that is to stand there."""


def change_params(root: Path, purpose: str, change: Change) -> Params:
    """Change ``params.yaml``, and return what it says then.

    The file is read under the lock under which it is written, so that of two commands neither undoes what the other has
    written. A link stays one, and lines end as they did.

    Args:
        root: the repository.
        purpose: what the caller does, for others to read.
        change: raises :class:`ConfigError` where there is nothing that could be changed.

    Raises:
        BusyError: another process changes the file all the while.
        ConfigError: the file is not legal, or would not be after the change; it stays as it is.
        ResourceError: it may not be written.
    """
    path = Path(os.path.realpath(root / "params.yaml"))
    with params_lock(root, purpose):
        params = load_params(root)
        if not os.access(path, os.W_OK):
            raise ResourceError(f"{path} must be writable, but is not; whoever may change it must {purpose}")
        before = path.read_bytes().decode()
        text = before.replace("\r\n", "\n")
        ends_by_both = text.count("\n") == before.count("\r\n")
        after = change(text, params)
        if after == text:
            return params
        checked = checked_params(after)
        with atomic_file(path) as temporary:
            temporary.write_bytes((after.replace("\n", "\r\n") if ends_by_both else after).encode())
        return checked


def checked_params(text: str) -> Params:
    """Return what the text of a ``params.yaml`` says.

    Raises:
        ConfigError: it is not legal.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "params.yaml").write_text(text, encoding="utf-8")
        return load_params(Path(folder))
