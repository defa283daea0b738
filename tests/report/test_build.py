from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config.sections import ReportParams
from pipeline.core.errors import DataError
from pipeline.model.frozen import Assigner
from pipeline.model.posterior import DiagonalNormal
from pipeline.report import build_showcase, open_corpus
from pipeline.report.corpus import Corpus
from pipeline.report.showcase import Showcase
from pipeline.table_format.build import write_assignments
from tests.evaluation.known import KnownModel, known_images, write_prepared

PARAMS = ReportParams(examples=4, generated=3, temperature=0.5, map_points=12, sprite_size=32)
TRAIN = (np.arange(20) % 3, np.arange(20) // 3 % 2)
TEST = (np.array([0, 0, 1]), np.array([0, 1, 1]))
PAIRS = [*zip(*TRAIN, strict=True), *zip(*TEST, strict=True)]


class Readable(KnownModel):
    """The known model with a typicality: lower components are more usual."""

    _precision = torch.float32
    _groups = None

    def typicality(self, facet: int, z: torch.Tensor) -> torch.Tensor:
        return -z[:, 0]

    def _evaluate(self, facet: int, qz: DiagonalNormal, assigner: Assigner) -> tuple[torch.Tensor, torch.Tensor]:
        return self.log_resp(facet, qz, assigner), self.typicality(facet, qz.mean)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A prepared folder of 20 training and 3 test images, and their assignments by a model that reads them off."""
    splits = {"train": known_images(*TRAIN), "test": known_images(*TEST)}
    write_prepared(tmp_path / "prepared", splits, {"digit": {"train": TRAIN[1], "test": np.array([1, -1, 0])}})
    for split, images in splits.items():
        write_split(tmp_path / "assignments" / split, split, images)
    return tmp_path / "prepared", tmp_path / "assignments"


def write_split(folder: Path, split: str, images: np.ndarray) -> None:
    ids = np.array([f"i-{split}{row:012d}" for row in range(len(images))])
    with write_assignments(folder, batch_id=split, model_version="m-0123456789ab", n_facets=2) as writer:
        writer.write(ids, Readable().assign(torch.from_numpy(images)))


@pytest.fixture
def corpus(folders: tuple[Path, Path]) -> Iterator[Corpus]:
    with open_corpus(*folders, n_facets=2) as opened:
        yield opened


@pytest.fixture
def showcase(corpus: Corpus) -> Showcase:
    return build_showcase(Readable(), corpus, PARAMS, 0, "known")


def test_a_corpus_is_training_then_test(corpus: Corpus) -> None:
    assert (corpus.n_train, corpus.n_images) == (20, 23)
    np.testing.assert_array_equal(corpus.facets[1].cluster_id, np.concatenate([TRAIN[1], TEST[1]]))
    np.testing.assert_array_equal(corpus.labels["digit"], [*TRAIN[1], 1, -1, 0])
    np.testing.assert_array_equal(corpus.is_test, [False] * 20 + [True] * 3)
    taken = corpus.take(np.array([1, 19, 20, 22]))
    np.testing.assert_array_equal(taken[:, 0, 0, 0], [TRAIN[0][1], TRAIN[0][19], TEST[0][0], TEST[0][2]])


@pytest.mark.parametrize("groups", [None, ([0, 1, 0], [0, 0])])
def test_images_have_the_confidence_of_their_group_where_there_are_groups(
    groups: tuple[list[int], list[int]] | None, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Readable, "_groups", groups and [torch.tensor(of_facet) for of_facet in groups])
    for split, images in (("train", known_images(*TRAIN)), ("test", known_images(*TEST))):
        write_split(folders[1] / split, split, images)
    with open_corpus(*folders, n_facets=2) as opened:
        pools = [facet.pool for facet in build_showcase(Readable(), opened, PARAMS, 0, "known").facets]
    if groups is None:
        assert [pool.group_confidence for pool in pools] == [None, None]
        return
    first, second = (np.asarray(pool.group_confidence) for pool in pools)
    assert (first[pools[0].cluster_id != 1] > pools[0].confidence[pools[0].cluster_id != 1]).all()
    assert first[pools[0].cluster_id == 1] == pytest.approx(pools[0].confidence[pools[0].cluster_id == 1])
    assert second == pytest.approx(1.0)  # all in one group


def test_assignments_of_other_images_are_refused(folders: tuple[Path, Path]) -> None:
    write_split(folders[1] / "test", "test", known_images(TEST[0][:2], TEST[1][:2]))
    with (
        pytest.raises(DataError, match=r"facet_0.parquet must hold the images of the prepared split"),
        open_corpus(*folders, n_facets=2),
    ):
        pass


def test_missing_assignments_name_the_stage(folders: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="run stage assign"), open_corpus(*folders, n_facets=3):
        pass


def test_damaged_assignments_are_named(folders: tuple[Path, Path]) -> None:
    damaged = next(folders[1].rglob("facet_1.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with (
        pytest.raises(DataError, match=r"facet_1.parquet must be a whole Parquet file, but .*; write it again"),
        open_corpus(*folders, n_facets=2),
    ):
        pass


def test_examples_belong_to_their_cluster_and_are_read_from_the_store(showcase: Showcase) -> None:
    for j, facet in enumerate(showcase.facets):
        for component, chosen in enumerate(facet.examples):
            assert len(chosen) == min(4, facet.sizes[component])
            assert (showcase.pool.images[chosen, 0, 0, j] == component).all()
            assert (facet.pool.cluster_id[chosen] == component).all()


def test_sizes_and_labels_count_both_splits(showcase: Showcase) -> None:
    everything = np.concatenate([TRAIN[0], TEST[0]])
    np.testing.assert_array_equal(showcase.facets[0].sizes, np.bincount(everything))
    assert showcase.facets[0].label_counts["digit"].sum() == 22  # one image has no label
    assert showcase.label_values["digit"].tolist() == [0, 1]


def test_generated_images_belong_to_their_component(showcase: Showcase) -> None:
    for j, facet in enumerate(showcase.facets):
        for component in range(len(facet.sizes)):
            assert (facet.generated[component, :, 0, 0, j] == component).all()


def test_the_cross_table_is_decoded_from_both_means(showcase: Showcase) -> None:
    (cross,) = showcase.crosses
    for r, row in enumerate(cross.row_ids):
        for c, column in enumerate(cross.column_ids):
            assert cross.imagined[r, c, 0, 0, :2].tolist() == [row, column]
            example = cross.examples[r, c]
            assert example == -1 or showcase.pool.images[example, 0, 0, :2].tolist() == [row, column]
            assert (example >= 0) == any(pair == (row, column) for pair in PAIRS)


def test_what_a_model_redraws_is_measured_on_held_out_images(folders: tuple[Path, Path]) -> None:
    class Dull(Readable):
        """Draws one and the same picture, whatever it has read."""

        def decode(self, latents: Sequence[torch.Tensor]) -> torch.Tensor:
            return super().decode([torch.ones_like(z) for z in latents])

    everything = replace(PARAMS, map_points=23)
    with open_corpus(*folders, n_facets=2) as corpus:
        exact, dull = (build_showcase(model, corpus, everything, 0, "known").redrawn for model in (Readable(), Dull()))
    assert exact is not None
    assert dull is not None
    # The pictures write confidence 100 where the images have 90: by that much even the exact model is off.
    real = known_images(*TEST).astype(float)
    variance = ((real - real.mean(axis=0)) ** 2).sum()
    off = 2 * 3 * 10.0**2
    assert exact == pytest.approx(1 - off / variance, abs=1e-6)
    assert dull == pytest.approx(1 - (off + 3) / variance, abs=1e-6)


def test_swaps_take_one_facet_from_the_other_image(showcase: Showcase) -> None:
    swaps = showcase.swaps
    assert swaps is not None
    own = showcase.pool.images[swaps.anchors, 0, 0, :2]
    for facet in (0, 1):
        for a in range(len(own)):
            for b in range(len(own)):
                expected = own[a].copy()
                expected[facet] = own[b][facet]
                assert swaps.pictures[facet, a, b, 0, 0, :2].tolist() == expected.tolist()
                assert swaps.cluster_id[facet, a, b].tolist() == expected.tolist()


def test_all_of_it_repeats(corpus: Corpus, showcase: Showcase) -> None:
    again = build_showcase(Readable(), corpus, PARAMS, 0, "known")
    np.testing.assert_array_equal(again.pool.image_ids, showcase.pool.image_ids)
    np.testing.assert_array_equal(again.facets[0].generated, showcase.facets[0].generated)
    np.testing.assert_array_equal(again.facets[1].pool.places, showcase.facets[1].pool.places)


def test_the_map_sample_has_its_size_and_the_rest_was_chosen(showcase: Showcase) -> None:
    assert showcase.pool.is_sampled.sum() == 12


def test_one_facet_has_neither_cross_table_nor_swaps(tmp_path: Path) -> None:
    model, images = Readable((3,)), known_images(TRAIN[0])
    write_prepared(tmp_path / "p", {"train": images, "test": images[:3]}, {})
    for split, n in (("train", 20), ("test", 3)):
        ids = np.array([f"i-{split}{row:012d}" for row in range(n)])
        with write_assignments(tmp_path / "a" / split, batch_id=split, model_version="m", n_facets=1) as writer:
            writer.write(ids, model.assign(torch.from_numpy(images[:n])))
    with open_corpus(tmp_path / "p", tmp_path / "a", 1) as corpus:
        showcase = build_showcase(model, corpus, PARAMS, 0, "known")
    assert showcase.swaps is None
    assert showcase.crosses == []
    assert showcase.label_values == {}
