"""What may be the name of an experiment."""

import re

from pipeline.core.errors import ConfigError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")

_YAML_WORDS = ("null", "true", "false", "yes", "no", "on", "off")
"""What YAML reads as nothing or as a truth value where it stands without quotation marks."""


def check_experiment_name(name: object, where: str = "experiment") -> str:
    """Return the name of an experiment if it is safe to build folders, files and addresses from it.

    Args:
        name: what was given.
        where: it was given, for the message.

    Raises:
        ConfigError: it is anything else, such as a path.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _YAML_WORDS:
        raise ConfigError(
            f"{where}: a name is lower-case letters, digits and _ (at most 41), a letter first, and no word that YAML "
            f"reads as something else ({', '.join(_YAML_WORDS)}), got {name!r}"
        )
    return name
