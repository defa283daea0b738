"""The course of a training run: one row an epoch, seed and split, for ``dvc plots`` and the page."""

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float64

Row = dict[str, int | float | str]


def columns(n_facets: int) -> list[str]:
    """Return the column names; facet terms are nats an image, empty where a row does not know them."""
    facets = [f"{name}_{j}" for j in range(n_facets) for name in ("kl", "kl_z", "kl_c")]
    return ["seed", "epoch", "phase", "split", "elbo", "log_px", *facets]


def train_row(seed: int, epoch: int, phase: int, terms: Float64[np.ndarray, " term"]) -> Row:
    """Return the row of an epoch's mean over training steps: log p(x | z), then KL_z + KL_c of every facet."""
    row: Row = {"seed": seed, "epoch": epoch, "phase": phase, "split": "train"}
    row |= {"elbo": float(terms[0] - terms[1:].sum()), "log_px": float(terms[0])}
    return row | {f"kl_{j}": float(kl) for j, kl in enumerate(terms[1:])}


def validation_row(seed: int, epoch: int, phase: int, terms: Float64[np.ndarray, " term"]) -> Row:
    """Return the row of the held-out images: log p(x | z), then KL_z and KL_c of every facet in turn."""
    row: Row = {"seed": seed, "epoch": epoch, "phase": phase, "split": "validation"}
    row |= {"elbo": float(terms[0] - terms[1:].sum()), "log_px": float(terms[0])}
    for j, (kl_z, kl_c) in enumerate(terms[1:].reshape(-1, 2)):
        row |= {f"kl_{j}": float(kl_z + kl_c), f"kl_z_{j}": float(kl_z), f"kl_c_{j}": float(kl_c)}
    return row


def write_history(path: Path, rows: Iterable[Row], n_facets: int) -> None:
    """Write all rows as CSV, six digits a number."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns(n_facets), restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
