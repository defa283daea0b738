"""Small things that several tests of the datasets need."""

from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from pipeline.config.resolve import preset_values
from pipeline.config.sections import PreprocessParams
from pipeline.datasets.decoding.decoded_file import DecodedFile
from pipeline.datasets.decoding.worker import DecodeJob, Item, decode_chunk

_DIGITS = PreprocessParams(
    source="digits",
    path=None,
    factors=None,
    labels=None,
    include=None,
    exclude=None,
    follow_links=False,
    features=None,
    size=None,
    fit="stretch",
    channels="source",
    brightest=None,
    test_fraction=0.25,
    split_seed=0,
    max_pixels=50_000_000,
)


USUAL = preset_values("standard")["preprocess"]
"""What `facets new` takes from a preset."""


def preprocess(**changes: Any) -> PreprocessParams:
    """Return the section ``preprocess`` with the given values instead of plain ones."""
    return replace(_DIGITS, **changes)


class DecodeHere:
    """Stands in for the processes of the decoding pool where a test needs many files but no processes."""

    def __init__(self, workers: int) -> None:
        self.is_closed = False

    def submit(self, job: DecodeJob, chunk: list[Item]) -> Future[list[DecodedFile]]:
        """Decode at once."""
        done: Future[list[DecodedFile]] = Future()
        done.set_result(decode_chunk(job, chunk))
        return done

    def close(self) -> None:
        """Note that the stream has ended."""
        self.is_closed = True
