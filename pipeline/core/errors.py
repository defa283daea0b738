"""Every error that the product raises on purpose.

A message has three parts: the rule, what was received, what to do. The command line prints it as one
line without a traceback and exits with the class's ``exit_code``.
"""

from pipeline.core.text import printable


class PipelineError(Exception):
    """Root of all deliberate errors; never raised itself.

    Args:
        message: one line. Names of files in it may hold anything; a terminal or a log gets nothing that it would obey.
        output: lines of another program, shown below the message.
    """

    exit_code = 1

    def __init__(self, message: str, *output: str) -> None:
        super().__init__(*map(printable, (message, *output)))

    def __str__(self) -> str:
        return "\n".join(self.args)


class ConfigError(PipelineError):
    """A parameter, an experiment name or a command-line value breaks a rule."""

    exit_code = 2


class DataError(PipelineError):
    """A source, an image, a label or a stored data file is missing, damaged or of the wrong kind."""

    exit_code = 3


class ModelError(PipelineError):
    """A model cannot be initialised, trained or loaded as asked."""

    exit_code = 4


class PublishError(PipelineError):
    """A version cannot be published, or published tables break an invariant."""

    exit_code = 5


class UnhealthyError(PublishError):
    """A trained model misses a limit of the gate."""


class BusyError(PipelineError):
    """Another process holds a lock that this one needs."""

    exit_code = 6


class ResourceError(PipelineError):
    """The machine lacks something: disk space, permission, a program, a repository."""

    exit_code = 7
