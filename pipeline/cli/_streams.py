"""Standard input and output as a shell may leave them: closed, full, or in an encoding that lacks characters."""

import codecs
import io
import os
import sys
from typing import TYPE_CHECKING

from pipeline.core.errors import ResourceError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_ESCAPE = "facets_escape"


class _Output(io.FileIO):
    """The file behind standard output: says of a fault that it is this file's, and of no file of the repository."""

    def write(self, data: "Buffer", /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            discard(self.fileno())  # what else is printed: one message is enough
            raise ResourceError(
                f"standard output must take what is printed, but: {error.strerror}; the command itself has ended: free "
                "space where the output goes, or send it elsewhere"
            ) from error


def prepare_streams() -> None:
    """Make standard input and output safe to use, whatever they are.

    What is closed (``>&-``) reads and writes nothing; nor does a file that is opened later get its number, which child
    processes would write to. A character that the encoding lacks is written as JSON escapes it.
    """
    codecs.register_error(_ESCAPE, _escape)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _open_nothing(number)
            setattr(sys, name, io.TextIOWrapper(io.FileIO(number, "w" if number else "r", closefd=False), "utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPE)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout.flush()
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Output(sys.stdout.fileno(), "w", closefd=False)),
            encoding=sys.stdout.encoding,
            errors=_ESCAPE,
            line_buffering=sys.stdout.line_buffering,
        )


def discard(*numbers: int) -> None:
    """Let what is still to be written to some descriptors go nowhere: the interpreter would complain at its end."""
    for number in numbers:
        _open_nothing(number)


def _open_nothing(number: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)), error.end
