"""Files of weights: read whole, never unpickled, known by their SHA-256."""

import hashlib
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from pipeline.core.errors import DataError
from pipeline.core.text import reason_of


def read_weights(path: Path) -> bytes:
    """Return the content of a file of weights.

    Raises:
        DataError: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} is missing; put the weights there or correct preprocess.features.weights") from None
    except OSError as error:
        raise DataError(
            f"{path} must be a readable file of weights, but {reason_of(error)}; correct the path"
        ) from None


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file.

    Raises:
        DataError: it is missing, or of another kind.
    """
    try:
        return safetensors.torch.load(read_weights(path))
    except safetensors.SafetensorError as error:
        raise DataError(f"{path} must be a file of safetensors, but {reason_of(error)}; convert the weights") from None


def fill(network: nn.Module, tensors: dict[str, torch.Tensor], name: str) -> None:
    """Load weights into a network, all that it has and no others.

    Raises:
        DataError: they are of another network.
    """
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:  # many lines, one a tensor
        shown = " ".join(str(error).split())[:200]
        raise DataError(f"{name} must hold the weights of {type(network).__name__}, but: {shown}") from None


def digest(network: nn.Module) -> str:
    """Return a SHA-256 of a network's weights, whatever file they came from: names, types, shapes and numbers."""
    found = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
