"""Which files of a source ``preprocess.include`` and ``preprocess.exclude`` choose, by their paths."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from pipeline.config.sections import PreprocessParams
from pipeline.datasets.files.location import storable


@dataclass(frozen=True)
class Patterns:
    """Patterns on paths below the source's folder, where ``*`` stands for anything, ``/`` too.

    Attributes:
        include: what is wanted; None wants all.
        exclude: what is not, though it were included; None is nothing.
    """

    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None

    @classmethod
    def of(cls, params: PreprocessParams) -> "Patterns":
        """Return those of an experiment."""
        return cls(params.include, params.exclude)

    def reason(self, name: str) -> str | None:
        """Return why a file is left out, to be put behind its path; None where it is wanted.

        Args:
            name: its path below the folder, as the system gives it.
        """
        path = storable(name)
        if self.include is not None and not any(fnmatchcase(path, pattern) for pattern in self.include):
            return "is left out, as no pattern of preprocess.include fits it"
        for pattern in self.exclude or ():
            if fnmatchcase(path, pattern):
                return f"is left out by preprocess.exclude ({pattern})"
        return None


EVERYTHING = Patterns()
