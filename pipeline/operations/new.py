"""A new experiment for a person's own images: a proposed section of ``params.yaml``, and a picture to look at."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Params, load_params
from pipeline.config.write import with_experiment
from pipeline.core.errors import ConfigError
from pipeline.core.layout import Layout
from pipeline.core.storage import atomic_file
from pipeline.onboarding.propose import propose_experiment
from pipeline.operations.first_publish import signs_of_a_history
from pipeline.operations.params_file import change_params
from pipeline.operations.retry import remember
from pipeline.tables import History


@dataclass(frozen=True)
class NewExperiment:
    """What was added.

    Attributes:
        text: the section of ``params.yaml``.
        contact_sheet: PNG of some images as the model will see them.
        notes: what a person should look at.
        active: the experiments that are active now, the new one among them.
        seconds: that a rebuild will take, about; None without trials.
    """

    text: str
    contact_sheet: Path
    notes: list[str]
    active: list[str]
    seconds: float | None


def add_experiment(root: Path, name: str, location: str, *, with_trials: bool = False) -> NewExperiment:
    """Look at images, add an experiment to ``params.yaml`` and make it active; the rest of the file stays.

    What images do not decide is that of a preset.

    Args:
        root: the repository.
        name: of the new experiment.
        location: folder or file of images; a path, or a URL.
        with_trials: whether settings are compared or tried, for up to minutes; otherwise a usual one is proposed.

    Raises:
        BusyError: another process changes ``params.yaml``.
        ConfigError: the name is taken or not a name, or ``params.yaml`` has no place to add it.
        DataError: there are no images to look at, or they cannot be clustered.
    """
    params, layout = load_params(root), Layout(root, name)
    _require_new(layout, params)
    proposal = propose_experiment(layout, location, with_trials=with_trials)
    sheet = root / ".work" / name / "contact-sheet.png"
    with atomic_file(sheet) as temporary:
        temporary.write_bytes(proposal.contact_sheet)

    def added(text: str, found: Params) -> str:
        _require_new(layout, found)
        return with_experiment(text, name, proposal.text)

    checked = change_params(root, f"new {name}", added)
    if proposal.seconds is not None:
        remember(layout, checked.experiment(name), proposal.seconds)
    return NewExperiment(proposal.text, sheet, proposal.notes, list(checked.active), proposal.seconds)


def _require_new(layout: Layout, params: Params) -> None:
    """Refuse a name that is taken: by another section, or by tables whose section is gone."""
    name = layout.experiment
    if name in params.experiments:
        raise ConfigError(f"a new experiment needs a name of its own, got {name!r}, which params.yaml has already")
    signs = [str(layout.published)] if History(layout.published).current() is not None else signs_of_a_history(layout)
    if signs:
        raise ConfigError(
            f"a new experiment needs a name of its own, got {name!r}, of which {signs[0]} is left; give another name, "
            f"put its section back into params.yaml, or delete what is left by facets drop {name}"
        )
