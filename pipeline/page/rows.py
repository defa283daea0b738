"""What the page shows of a published version: rows of its small tables as typed records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int64


@dataclass(frozen=True)
class ClusterRow:
    """One component of the model in service, as published.

    Attributes:
        facet: number of the facet, from 0.
        cluster_id: the component.
        cluster_uid: its lasting name; None for a component that never held an image.
        name: what people call it, if they named it.
        note: what people wrote about it, if anything.
        size: live images in it.
        mean_confidence: of these images; None without images.
        mixing_weight: of the component in the model's prior.
        minted_by: model version in which the uid first appeared.
        group_uid: lasting name of the group that it belongs to; None for models of earlier releases.
        group_name: what people call that group, if they named it.
    """

    facet: int
    cluster_id: int
    cluster_uid: str | None
    name: str | None
    note: str | None
    size: int
    mean_confidence: float | None
    mixing_weight: float
    minted_by: str | None
    group_uid: str | None = None
    group_name: str | None = None


@dataclass(frozen=True)
class BatchRow:
    """One batch of images.

    Attributes:
        batch_id: ``train``, ``test`` or ``b-…``.
        status: ``source``, ``live``, ``joined``, ``removed`` or ``empty``.
        created: ISO date and time, UTC; None for the source's own splits.
        source: where it came from.
        n_images: live images.
        quarantined: files that could not be read as images.
        duplicates: images that the experiment already had.
        drift: one score a facet; None where it was not measured.
        drifted: whether it counts as drifted; None where it was not measured.
        sizes: live images by facet and component; None where unknown.
        thumbnails: folder written by :func:`pipeline.report.write_thumbnails`; None where there is none.
    """

    batch_id: str
    status: str
    created: str | None
    source: str | None
    n_images: int
    quarantined: int
    duplicates: int
    drift: Sequence[float] | None
    drifted: bool | None
    sizes: Sequence[Sequence[int]] | None
    thumbnails: Path | None


@dataclass(frozen=True)
class LineageRow:
    """One old cluster whose images are now found in one new cluster, although the two differ in uid."""

    facet: int
    old_uid: str
    new_uid: str
    kind: str
    overlap: int


@dataclass(frozen=True)
class ImageFile:
    """Where one image came from.

    Attributes:
        batch_id: the batch it came in.
        path: below what was read, e.g. ``cats/17.png``; bytes that are no UTF-8 as Python escapes them.
    """

    batch_id: str
    path: str


@dataclass(frozen=True)
class Files:
    """Names of files, for pages that may say them.

    Attributes:
        images: by image id; images whose source has no names are missing.
        roots: by batch id the address of the folder that paths start in, ``file:`` or ``http:``, where a browser could
            open one.
    """

    images: Mapping[str, ImageFile]
    roots: Mapping[str, str]


@dataclass(frozen=True)
class AsideRow:
    """Files of one batch that were set aside for one reason.

    Attributes:
        batch_id: the batch.
        reason: why, as what the file is; numbers that differ from file to file as ``…``.
        count: how many files.
        files: some of them; none on a page that says no names.
    """

    batch_id: str
    reason: str
    count: int
    files: Sequence[str]


@dataclass(frozen=True)
class RejectedRow:
    """A delivery of which no image was taken.

    Attributes:
        name: of its file or folder, the time of its rejection in front; None on a page that says no names.
        reason: why it could not be used; None there, too, as it may name files.
    """

    name: str | None
    reason: str | None


@dataclass(frozen=True)
class PageInput:
    """Everything on the page that publishing decides; the rest comes from the model's staged files.

    Attributes:
        experiment: its name.
        version: number of the published version.
        model_version: of the model in service.
        created: when the version was published, ISO, UTC.
        clusters: all components of all facets.
        batches: all batches, oldest first.
        crosses: by pair of facets (i, j), i < j, how many live images lie in each pair of their components.
        lineage: splits and merges that led to this version.
        files: of the images shown; None for a page that must not say any name.
        aside: files that were set aside, the most frequent reason first.
        copies: images that are exact copies of another one of their source.
        rejected: deliveries of which no image was taken, the newest first.
    """

    experiment: str
    version: int
    model_version: str
    created: str
    clusters: Sequence[ClusterRow]
    batches: Sequence[BatchRow]
    crosses: Mapping[tuple[int, int], Int64[np.ndarray, "component other"]]
    lineage: Sequence[LineageRow] = ()
    files: Files | None = field(default_factory=lambda: Files({}, {}))
    aside: Sequence[AsideRow] = ()
    copies: int = 0
    rejected: Sequence[RejectedRow] = ()
