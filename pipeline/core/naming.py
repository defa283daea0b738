"""What may be the name of an experiment."""

import re

from pipeline.core.errors import ConfigError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


def check_experiment_name(name: object, where: str = "experiment") -> str:
    """Return the name of an experiment if it is safe to build folders, files and addresses from it.

    Args:
        name: what was given.
        where: it was given, for the message.

    Raises:
        ConfigError: it is anything else, such as a path.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"{where}: a name is lower-case letters, digits and _ (at most 41), a letter first, got {name!r}"
        )
    return name
