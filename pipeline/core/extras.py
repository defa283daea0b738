"""What reading tables does without: which extra of the package brings a missing module, and how it is installed."""

from pipeline.core.errors import ResourceError

EXTRAS = {
    "sql": ("duckdb",),
    "train": (
        *(
            "dvc",
            "h5py",
            "httpx",
            "matplotlib",
            "PIL",
            "plotly",
            "pooch",
            "psutil",
            "safetensors",
            "scipy",
            "simplejpeg",
        ),
        *("sklearn", "threadpoolctl", "torch", "torchvision", "tqdm"),
    ),
    "flows": ("prefect", "fastapi", "sqlalchemy"),
    "dask": ("distributed", "prefect_dask"),
    "perceptual": ("torchmetrics",),
}
"""Modules by the extra of ``pyproject.toml`` that brings them."""


def how_to_install(extra: str) -> str:
    """Return what a person runs to have an extra."""
    return f"run pip install 'facet-pipeline[{extra}]', or make repro in the repository"


def name_extra(error: ModuleNotFoundError) -> None:
    """Say which extra would have brought a module that is missing; nothing of one that none brings.

    Raises:
        ResourceError: an extra brings it.
    """
    module = str(error.name or "").partition(".")[0]
    for extra, modules in EXTRAS.items():
        if module in modules:
            raise ResourceError(
                f"this needs the package {module}, which is not installed; {how_to_install(extra)}"
            ) from None
