"""A network exported to ONNX, run by onnxruntime."""

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime
from jaxtyping import Float32, UInt8

from pipeline.backbones.network import IMAGENET_MEAN, IMAGENET_STD
from pipeline.backbones.weights import read_weights
from pipeline.core.errors import DataError
from pipeline.core.text import reason_of

_SIGNATURE = "one input of floats n×3×height×width of a fixed size, and one output of floats n×features"
_ERRORS_ALONE = 3  # of what the runtime would print


class OnnxFile:
    """Pictures go in normalised as ImageNet's are; what comes out are the features.

    The file is read whole, so its weights must lie in it and its SHA-256 is that of all of them.
    """

    def __init__(self, model: str, weights: Path | None) -> None:
        assert weights is not None
        data = read_weights(weights)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ALONE + 1
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - the runtime has a class for every fault, and no public base
            raise DataError(f"{weights} must be a complete ONNX file, but {reason_of(error)}; export it anew") from None
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.image_size = self._require_signature(weights)
        self._input = self._session.get_inputs()[0].name
        mean, std = (np.array(one, np.float32)[:, None, None] for one in (IMAGENET_MEAN, IMAGENET_STD))
        self._mean, self._std = 255 * mean, 255 * std
        self.n_features = self.embed(np.zeros((1, 3, *self.image_size), np.uint8)).shape[1]

    def embed(self, images: UInt8[np.ndarray, "image 3 height width"]) -> Float32[np.ndarray, "image feature"]:
        """Return the features of some pictures."""
        normal = (images - self._mean) / self._std
        return np.asarray(self._session.run(None, {self._input: normal})[0])

    def _require_signature(self, weights: Path) -> tuple[int, int]:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        floats = all(one.type == "tensor(float)" for one in (*inputs, *outputs))
        shapes = [one.shape for one in (*inputs, *outputs)]
        counts = (len(inputs), len(outputs)) == (1, 1)
        if counts and floats and len(shapes[0]) == 4 and len(shapes[1]) == 2 and shapes[0][1] == 3:
            height, width = shapes[0][2:]
            if isinstance(height, int) and isinstance(width, int):
                return height, width
        found = ", ".join(f"{one.name}: {one.type} of {one.shape}" for one in (*inputs, *outputs))
        raise DataError(f"{weights} must have {_SIGNATURE}, got {found}; export it so")
