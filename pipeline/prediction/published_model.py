"""A published model, loaded: from images to a frame with their clusters."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Shaped

from pipeline.config.sections import AssignParams, PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.image_ids import HASH_DTYPE, format_ids
from pipeline.core.text import count_reasons, set_aside
from pipeline.datasets.decoding.decoded_file import DecodedFile
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.decoding.worker import DecodeJob
from pipeline.datasets.store.spec import describe_shape
from pipeline.model import FrozenModel
from pipeline.prediction.given import decode_given


@dataclass(frozen=True)
class PublishedModel:
    """The model in service of an experiment, which needs neither its project nor its images.

    Attributes:
        experiment: that published it.
        version: of the tables.
        model: the network and its mixtures.
        preprocess: how its training images were prepared.
        transform: to the shape that it takes.
        assign: how images were assigned.
        uids: one mapping a facet: ``cluster_uid``, and ``group_uid`` if it has groups, to one uid a component.
        names: by uid, where people have named it.
    """

    experiment: str
    version: int
    model: FrozenModel = field(repr=False)
    preprocess: PreprocessParams = field(repr=False)
    transform: ImageTransform = field(repr=False)
    assign: AssignParams = field(repr=False)
    uids: Sequence[Mapping[str, Sequence[str]]] = field(repr=False)
    names: Mapping[str, str] = field(repr=False)

    def predict(self, images: Any) -> pd.DataFrame:
        """Return the clusters of images, one row an image in the order given.

        Images are decoded and brought to the model's size as ``facets ingest`` does, so that a published image gets
        the uids that its rows have, and nearly the same numbers. They are worked at in batches: names, pictures or
        arrays that come from a generator need not fit into memory together.

        An image that cannot be used (missing, damaged, of too many pixels, …) costs no other: its row has nulls, and
        the reason in the last column. A warning counts such images, and it is an error where there is no other.

        Args:
            images: names of files (paths or URLs), pictures of Pillow, or arrays (height, width[, channel]), all of one
                kind; or one array (n, height, width[, channel]). Values as in files of arrays: uint8, bool, uint16, and
                floats from 0 to 1.

        Returns:
            ``path`` (null where there is none), ``image_id`` (of the content, as in the tables), and for every facet j
            ``facet_<j>_cluster_uid``, ``facet_<j>_cluster_name``, ``facet_<j>_confidence``, ``facet_<j>_group_uid``,
            ``facet_<j>_group_name`` and ``facet_<j>_group_confidence``; ``reason``. Names are null where nobody has
            given one, groups where a release without them trained the model.

        Raises:
            DataError: ``images`` is something else, an array breaks a rule, or no image can be used.
            ResourceError: there is too little memory, or no process can be started.
        """
        job = DecodeJob(
            None,
            self.preprocess.max_pixels,
            self.transform,
            pixel_bytes=None,
            with_encoded=False,
            brightest=self.preprocess.brightest,
        )
        decoded = map(self._fitting, decode_given(images, job))
        names: list[str | None] = []
        reasons: list[str | None] = []
        parts = [self._columns([])]
        while block := list(islice(decoded, self.assign.batch_size)):
            names += [file.name or None for file in block]
            reasons += [file.reason for file in block]
            parts.append(self._columns([file for file in block if file.reason is None]))
        _tell_refused(names, reasons)
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        usable = [row for row, reason in enumerate(reasons) if reason is None]
        frame = pd.DataFrame(columns, index=usable).reindex(range(len(reasons)))
        frame.insert(0, "path", pd.Series(names, dtype=object))
        frame["reason"] = pd.Series(reasons, dtype=object)
        return frame

    def _fitting(self, file: DecodedFile) -> DecodedFile:
        """Refuse an image whose channels are neither the model's nor can become them."""
        shape = self.model.spec.shape
        if file.pixels is None or file.pixels.shape == shape:
            return file
        got, wanted = describe_shape(file.shape), describe_shape(shape)
        return DecodedFile(file.name, f"is {got}, but the model takes {wanted}; give it the same channels")

    def _columns(self, files: Sequence[DecodedFile]) -> dict[str, Shaped[np.ndarray, " image"]]:
        hashes = np.array([file.hash for file in files], HASH_DTYPE)
        pixels = np.array([file.pixels for file in files], np.uint8).reshape(-1, *self.model.spec.shape)
        columns = {"image_id": format_ids(hashes, np.ones(len(files), np.int64)).astype(np.str_).astype(object)}
        for facet, found in enumerate(self.model.assign(torch.from_numpy(pixels), self.assign.assigner)):
            no_groups = [None] * self.model.params.n_components[facet], np.full(len(files), np.nan, np.float32)
            for level, name, confidence in (
                ("cluster", "confidence", found.confidence),
                ("group", "group_confidence", found.group_confidence),
            ):
                uids = self.uids[facet].get(f"{level}_uid", no_groups[0])
                names = [self.names.get(uid or "") for uid in uids]
                columns |= {
                    f"facet_{facet}_{level}_uid": np.array(uids, object)[found.cluster_id],
                    f"facet_{facet}_{level}_name": np.array(names, object)[found.cluster_id],
                    f"facet_{facet}_{name}": no_groups[1] if confidence is None else confidence,
                }
        return columns


def _tell_refused(names: Sequence[str | None], reasons: Sequence[str | None]) -> None:
    found = [reason for reason in reasons if reason is not None]
    if not found:
        return
    row = next(row for row, reason in enumerate(reasons) if reason is not None)
    first = f"row {row}, {names[row] or 'image'} {reasons[row]}"
    if len(found) == len(reasons):
        raise DataError(f"predict needs an image that can be used, but none of {len(reasons)} can: {first}")
    warnings.warn(
        f"{set_aside(len(reasons), count_reasons(found))}; their rows have nulls and a reason, the first is {first}",
        stacklevel=3,
    )
