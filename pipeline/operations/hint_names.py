"""Names that hints propose: a label, for the group or cluster that most of its images share."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core.layout import Layout
from pipeline.datasets.prepare.find_images import find_images
from pipeline.datasets.prepare.hint_files import HintFiles
from pipeline.table_format.schema import facet_table
from pipeline.tables import History, read
from pipeline.tables.formula import from_text
from pipeline.tables.names import load_names

_FEWEST = 2  # images of a label that a cluster must hold to be proposed its name


@dataclass(frozen=True)
class Proposal:
    """A name that hints propose.

    Attributes:
        uid: of a group, or of a cluster where there are no groups.
        name: the label.
        n_images: images of the label in it.
        n_label: images of the label that are published.
    """

    uid: str
    name: str
    n_images: int
    n_label: int


def propose_names(layout: Layout, files: HintFiles) -> list[Proposal]:
    """Return a name for every group, or cluster where there are no groups, that holds most images of one label.

    What has a name already gets no proposal, and neither does what holds most images of two labels.

    Args:
        layout: of the experiment, which is published.
        files: its hints.
    """
    found = find_images(layout.prepared, files.mentions()).images
    labels: dict[int, dict[str, str]] = defaultdict(dict)
    for hint in files.labels:
        if hint.image in found:
            labels[hint.facet][found[hint.image].image_id] = from_text(hint.label)
    named = load_names(layout.names, History(layout.published).minted_by())
    proposals: list[Proposal] = []
    for facet, label_of in sorted(labels.items()):
        columns = ["image_id", "cluster_uid", "group_uid"]
        rows: Any = read(layout.experiment, facet_table(facet), columns=columns, root=layout.root)
        rows = rows[rows["image_id"].isin(list(label_of))]
        uids = rows["group_uid"].fillna(rows["cluster_uid"])
        proposals += _of_facet(Counter(zip(uids, rows["image_id"].map(label_of), strict=True)))
    return [proposal for proposal in proposals if proposal.uid not in named]


def _of_facet(counts: Mapping[tuple[str, str], int]) -> list[Proposal]:
    n_label = Counter[str]()
    for (_, label), n in counts.items():
        n_label[label] += n
    most = {(uid, label): n for (uid, label), n in counts.items() if n >= _FEWEST and 2 * n > n_label[label]}
    n_names = Counter(uid for uid, _ in most)
    return [Proposal(uid, label, n, n_label[label]) for (uid, label), n in sorted(most.items()) if n_names[uid] == 1]
