"""A new experiment for a person's own images: a proposed section of ``params.yaml``, and a picture to look at."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import load_params
from pipeline.datasets.propose import propose_experiment
from pipeline.errors import ConfigError
from pipeline.layout import Layout
from pipeline.storage import atomic_file

_ACTIVE = re.compile(r"^active: \[(.*)\]", re.MULTILINE)


@dataclass(frozen=True)
class NewExperiment:
    """What was added.

    Attributes:
        text: the section of ``params.yaml``.
        contact_sheet: PNG of some images as the model will see them.
        notes: what a person should look at.
    """

    text: str
    contact_sheet: Path
    notes: list[str]


def add_experiment(root: Path, name: str, location: str) -> NewExperiment:
    """Look at images, append an experiment to ``params.yaml`` and make it active.

    Args:
        root: the repository.
        name: of the new experiment.
        location: folder, array file or Parquet file; a path, or a URL.

    Raises:
        ConfigError: the name is taken or not a name, or ``params.yaml`` has no list ``active: [...]`` to extend.
        DataError: there are no images to look at.
    """
    params = load_params(root)
    if name in params.experiments:
        raise ConfigError(f"a new experiment needs a name of its own, got {name!r}, which params.yaml has already")
    layout = Layout(root, name)
    proposal = propose_experiment(layout, next(iter(params.experiments.values())).preprocess, location)
    path = root / "params.yaml"
    text = path.read_text(encoding="utf-8")
    if not _ACTIVE.search(text):
        raise ConfigError("params.yaml must have a line active: [...] to which the experiment is added, found none")
    text = _ACTIVE.sub(lambda found: f"active: [{found[1]}, {name}]", text, count=1)
    text = f"{text.rstrip()}\n\n{proposal.text}"
    _check(text)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    sheet = root / ".work" / name / "contact-sheet.png"
    with atomic_file(sheet) as temporary:
        temporary.write_bytes(proposal.contact_sheet)
    return NewExperiment(proposal.text, sheet, proposal.notes)


def _check(text: str) -> None:
    """Parse the new parameters elsewhere first: a mistake must not cost the file that works."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "params.yaml").write_text(text, encoding="utf-8")
        load_params(Path(folder))
