import pickle

import numpy as np

from pipeline.datasets.decoding.decoded_file import DecodedFile, pack, unpack


def test_outcomes_arrive_as_they_were_sent():
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (4, 5, 3), np.uint8).transpose(2, 0, 1)  # as decoders deliver it
    grey = rng.integers(0, 256, (1, 2, 7), np.uint8)
    sent = [
        DecodedFile("a.png", None, 7, (3, 4, 5), colour, b"bytes"),
        DecodedFile("b.txt", "is no image"),
        DecodedFile("c.png", None, 2**64 - 1, (3, 9000, 9000), None, b"large"),
        DecodedFile("d.png", None, 0, (1, 2, 7), grey, None, 65535),
        DecodedFile("e.png", None, 0, (1, 2, 7), grey, is_transparent=True),
    ]
    found = unpack(pickle.loads(pickle.dumps(pack(sent), protocol=5)))  # noqa: S301 - our own
    assert [file._replace(pixels=None) for file in found] == [file._replace(pixels=None) for file in sent]
    assert found[1].pixels is None
    assert found[2].pixels is None
    np.testing.assert_array_equal(found[0].pixels, colour)
    np.testing.assert_array_equal(found[3].pixels, grey)


def test_no_outcome_is_no_parcel_to_stumble_over():
    assert unpack(pack([])) == []
