import numpy as np
import torch

from pipeline.datasets.store.spec import InputSpec
from pipeline.model.inputs import as_floats, as_pictures, as_stored, encode_blocks
from tests.model.builders import CONVOLUTIONAL, SPEC, image_shape, random_model


def test_bytes_become_parts_of_255_and_come_back():
    images = torch.arange(256, dtype=torch.uint8).reshape(4, 1, 8, 8)
    x = as_floats(SPEC, images, torch.float32)
    np.testing.assert_array_equal(x, images.numpy().astype(np.float32) / np.float32(255))
    assert torch.equal(as_stored(SPEC, x), images)
    assert images.max() == 255  # and stay what they were


def test_features_stay_what_they_are_and_are_seen_as_greys():
    x = torch.tensor([-3.0, 0.0, 0.25, 300.0]).reshape(1, 1, 1, 4)
    spec = InputSpec("features", "float32", (1, 1, 4), is_bounded=False)
    assert torch.equal(as_floats(spec, x, torch.float64), x.double())
    assert torch.equal(as_stored(spec, x.double()), x)
    assert as_pictures(spec, x).flatten().tolist() == [32, 128, 153, 255]
    unit = InputSpec("features", "float32", (1, 1, 4), is_bounded=True)
    assert as_pictures(unit, x).flatten().tolist() == [0, 0, 64, 255]


def test_pixels_are_rounded_and_kept_in_range():
    pixels = torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.2, -0.1]).reshape(1, 1, 2, 3)
    np.testing.assert_array_equal(as_stored(SPEC, pixels).flatten(), [0, 0, 1, 255, 255, 0])
    np.testing.assert_array_equal(as_pictures(SPEC, pixels).flatten(), [0, 0, 1, 255, 255, 0])


def test_blocks_are_encoded_for_every_seed_in_evaluation_mode_without_gradients():
    model = random_model(CONVOLUTIONAL, n_seeds=2).train()
    images = torch.randint(0, 256, (6, *image_shape(CONVOLUTIONAL)), dtype=torch.uint8)
    blocks = list(encode_blocks(model, images.split(4)))
    assert not model.training
    x = (images[4:].double() / 255).expand(2, -1, -1, -1, -1)
    for qz, expected in zip(blocks[1], model.encode(x), strict=True):
        assert not qz.mean.requires_grad
        torch.testing.assert_close(qz.mean, expected.mean)
