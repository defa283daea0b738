"""What people said of images, what became of it, and which names it proposes for clusters and groups."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.text import counted
from pipeline.datasets.prepare.hint_files import HintFiles, read_hint_files
from pipeline.datasets.prepare.hints import resolve_hints
from pipeline.operations.hint_names import Proposal, propose_names
from pipeline.operations.status import read_help
from pipeline.tables import History
from pipeline.tables.formula import from_text


@dataclass(frozen=True)
class HintList:
    """The hints of an experiment.

    Attributes:
        experiment: its name.
        labels: by facet and label, how many images.
        same: by facet, how many pairs are to be the same.
        different: likewise, that are not.
        account: what became of them when images were prepared as they are now, in words.
        fault: why no training could follow them; empty where one can.
        help: of every facet of the model in service, what it was told and what it made of that, in words.
        proposals: names for clusters and groups of the model in service.
    """

    experiment: str
    labels: Mapping[int, Mapping[str, int]]
    same: Mapping[int, int]
    different: Mapping[int, int]
    account: str
    fault: str
    help: tuple[str | None, ...]
    proposals: tuple[Proposal, ...]

    @property
    def text(self) -> str:
        """The same for people."""
        lines = [f"{self.experiment}: {self.account}"]
        for facet in sorted({*self.labels, *self.same, *self.different}):
            said = [f"{label} ({n})" for label, n in self.labels.get(facet, {}).items()]
            pairs = [(self.same, "the same"), (self.different, "different")]
            said += [f"{counted(of[facet], 'pair')} {what}" for of, what in pairs if of.get(facet)]
            lines.append(f"  facet {facet}    {', '.join(said)}")
        lines += [f"  in service, facet {facet}: {said}" for facet, said in enumerate(self.help) if said is not None]
        if self.fault:
            lines.append(f"next    {self.fault}")
        for one in self.proposals:
            lines.append(
                f"  {one.uid} holds {one.n_images} of {one.n_label} images labelled {one.name}: facets name "
                f"{self.experiment} {one.uid} {shlex.quote(one.name)}"
            )
        return "\n".join(lines)


def list_hints(layout: Layout) -> HintList:
    """Return the hints of an experiment; nothing is changed.

    Raises:
        DataError: a file of hints is no table with its columns.
    """
    files = read_hint_files(layout)
    labels: dict[int, Counter[str]] = defaultdict(Counter)
    for facet, label, _ in dict.fromkeys((hint.facet, hint.label, hint.image) for hint in files.labels):
        labels[facet][from_text(label)] += 1
    account, fault = _account(layout, files)
    history = History(layout.published)
    is_published, is_prepared = history.current() is not None, (layout.prepared / "images.parquet").exists()
    return HintList(
        layout.experiment,
        {facet: dict(counts) for facet, counts in sorted(labels.items())},
        dict(Counter(pair.facet for pair in files.pairs if pair.is_same)),
        dict(Counter(pair.facet for pair in files.pairs if not pair.is_same)),
        account,
        fault,
        tuple(read_help(history.model_folder())) if is_published else (),
        tuple(propose_names(layout, files)) if is_published and is_prepared else (),
    )


def _account(layout: Layout, files: HintFiles) -> tuple[str, str]:
    """Return what becomes of hints with the images that are prepared now, and why no training could follow them."""
    if not files.labels and not files.pairs:
        return "no hints", ""
    n_hints = counted(len(files.labels) + len(files.pairs), "hint")
    if not (layout.prepared / "images.parquet").exists():
        return f"{n_hints}, of images that are not prepared yet", ""
    try:
        return resolve_hints(files, layout.prepared, lambda _: "is not among those that are prepared")[1].text, ""
    except DataError as error:
        return n_hints, str(error)
