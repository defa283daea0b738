import numpy as np
import pytest
import torch

from pipeline.core.errors import ResourceError
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.spec import InputSpec
from pipeline.paper.diversity import (
    consecutive_pairs,
    diversity,
    latent_distance,
    lpips_distance,
    pixel_distance,
    real_pairs,
)
from tests.evaluation.known import KnownModel, known_images, write_prepared


@pytest.fixture
def store(tmp_path):
    write_prepared(tmp_path, {"test": known_images(np.arange(6) % 3, np.zeros(6, int))}, {})
    with ImageStore(tmp_path / "test.h5") as opened:
        yield opened


def test_mean_and_standard_error():
    def first_pixel(first, second):
        return (first - second)[:, 0, 0, 0].float()

    a = torch.from_numpy(known_images([3, 4, 6, 9], [0] * 4))
    b = torch.from_numpy(known_images([1, 1, 1, 1], [0] * 4))
    found = diversity(iter([(a[:1], b[:1]), (a[1:], b[1:])]), first_pixel)
    distances = [2, 3, 5, 8]
    assert (found.mean, found.n_pairs) == (4.5, 4)
    assert found.standard_error == pytest.approx(np.std(distances, ddof=1) / 2)


def test_pixel_distance_by_hand():
    a = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    b = torch.tensor([255, 0, 0, 51], dtype=torch.uint8).reshape(1, 1, 2, 2)
    assert pixel_distance(InputSpec.pixels((1, 2, 2)))(a, b).item() == pytest.approx(np.sqrt((1 + 0.2**2) / 4))


def test_latent_distance_is_in_units_of_the_spread_of_real_images(store):
    # Facet 0 has the values 0, 1, 2 twice; facet 1 is constant over real images and does not count.
    a = torch.from_numpy(known_images([0, 2], [0, 1]))
    b = torch.from_numpy(known_images([1, 2], [0, 0]))
    found = latent_distance(KnownModel(), store)(a, b)
    np.testing.assert_allclose(found, [float(1 / np.std([0, 1, 2])), 0.0], rtol=1e-6)


def test_real_pairs_are_two_different_images(store, monkeypatch):
    images = store.read(0, 6).copy()
    rows = []
    monkeypatch.setattr(
        "pipeline.paper.diversity.take_images",
        lambda store, asked: rows.append(asked) or torch.from_numpy(images[asked]),
    )
    blocks = list(real_pairs(store, 600))
    assert [len(first) for first, _ in blocks] == [256, 256, 88]
    first, second = np.concatenate(rows[::2]), np.concatenate(rows[1::2])
    assert (first != second).all()
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == 30


def test_generated_samples_are_used_once():
    samples = torch.arange(11, dtype=torch.uint8).reshape(11, 1, 1, 1)
    ((first, second),) = consecutive_pairs(iter([samples]))
    assert first.flatten().tolist() == [0, 1, 2, 3, 4]
    assert second.flatten().tolist() == [5, 6, 7, 8, 9]


@pytest.mark.xdist_group("torchvision")
def test_lpips_says_what_it_misses(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ResourceError, match=r"LPIPS needs the weights .*alexnet\S*\.pth is missing; put torchvision's"):
        lpips_distance(InputSpec.pixels((1, 28, 28)))


@pytest.mark.xdist_group("torchvision")
def test_lpips_runs_where_the_weights_are(tmp_path, monkeypatch):
    from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

    weights = tmp_path / "hub" / "checkpoints" / SqueezeNet1_1_Weights.DEFAULT.url.rsplit("/", 1)[1]
    weights.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(squeezenet1_1().state_dict(), weights)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    distance = lpips_distance(InputSpec.pixels((1, 28, 28)), "squeeze")
    noise = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = distance(noise, noise.flip(0))
    assert found.shape == (3,)
    assert found[1] == pytest.approx(0, abs=1e-6)
    assert found[0] == pytest.approx(found[2].item(), rel=1e-4)
    assert found[0] > 1e-4
