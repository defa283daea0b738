"""The model and training part of a proposed experiment: what the pixels suggest, with a reason for each choice."""

import numpy as np
from jaxtyping import UInt8

Pixels = UInt8[np.ndarray, "image channel height width"]

Choice = tuple[str, str]
"""A value as YAML, and why."""

_USUAL_MODEL: dict[str, Choice] = {
    "covariance": ("diagonal", "with few images full ones make the clusters of the shallow facet vague"),
    "mixing_weights": ("learned", "clusters may differ in size"),
    "sigma": ("1.0", "of a Gaussian likelihood only"),
    "output": ("sigmoid", "pixels lie between 0 and 1"),
    "activation": ("relu", "as for MNIST"),
    "network_init": ("default", "as for MNIST"),
    "rung_gate": ("0.1", "as for MNIST"),
}
_USUAL_TRAINING: dict[str, Choice] = {
    "learning_rate": ("1.0e-3", "Adam's usual one"),
    "betas": ("[0.9, 0.95]", "as in the shipped experiments of this size"),
    "warmup_steps": ("100", "the rate rises over so many steps"),
    "kl_weight": ("1.0", "the bound as it is"),
    "kl_epochs": ("0", "from the first epoch on"),
    "n_samples": ("1", "of the latents a step"),
    "validation_fraction": ("0.1", "of the training images, to choose the seed by"),
    "min_entropy": ("0.5", "that of publish.gate: a seed below it could not be published"),
    "precision": ("auto", "what the machine is good at"),
    "device": ("auto", "a GPU where there is one"),
    "checkpoint_seconds": ("30.0", "so much is lost when it is killed"),
    "min_healthy_seeds": ("1", "fewer fail the training"),
}
"""What images do not decide."""

_IMAGES_PER_COMPONENT = 20
_FEWEST_FOR_FULL = 10_000  # images: with fewer, clusters of the shallow facet become vague
_STEPS = 6000
"""Optimisation steps that an experiment of this size needs to settle, all phases together."""

_FEW_DIRECTIONS = 12  # handwritten digits have 20 at 8×8 pixels and 75 at 28×28


def choose_model(pixels: Pixels, n_images: int) -> tuple[dict[str, Choice], dict[str, Choice]]:
    """Return the sections ``model`` and ``train``.

    Args:
        pixels: some hundred images at model size.
        n_images: of the whole folder.
    """
    is_simple = _n_directions(pixels) < _FEW_DIRECTIONS
    n_facets = 1 if is_simple and pixels.shape[1] == 1 else 2
    model = _choose_network(pixels, n_images, n_facets, is_simple)
    train = _choose_training(n_images, n_facets)
    return model | _without(_USUAL_MODEL, model), train | _without(_USUAL_TRAINING, train)


def _without(usual: dict[str, Choice], chosen: dict[str, Choice]) -> dict[str, Choice]:
    return {key: choice for key, choice in usual.items() if key not in chosen}


def _n_directions(pixels: Pixels) -> int:
    """Return how many principal components hold 90 % of the images' variance."""
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    flat -= flat.mean(0)
    variance = np.linalg.eigvalsh(flat @ flat.T)[::-1].clip(0)
    return int((variance.cumsum() < 0.9 * variance.sum()).sum()) + 1


def _choose_network(pixels: Pixels, n_images: int, n_facets: int, is_simple: bool) -> dict[str, Choice]:
    n_components = max(4, min(25, n_images // _IMAGES_PER_COMPONENT))
    is_colour = pixels.shape[1] > 1
    extreme = float(((pixels < 26) | (pixels > 229)).mean())
    model: dict[str, Choice] = {
        "family": ("dense", "quick on a processor; with a GPU and photographs try convolutional"),
        "hidden": _choose_hidden(int(np.prod(pixels.shape[1:])), n_facets),
        "latent_dims": _choose_latents(is_colour, n_facets, is_simple),
        "n_components": (
            str([n_components] * n_facets),
            f"clusters a facet at most: {_IMAGES_PER_COMPONENT} images for each, never more than 25",
        ),
    }
    if n_images >= _FEWEST_FOR_FULL:
        model["covariance"] = ("full", "clusters may be slanted; as for MNIST")
    if extreme > 0.8 and not is_colour:
        return model | {"likelihood": ("bernoulli", f"{extreme:.0%} of the pixels are nearly black or white")}
    sigma = min(0.6, max(0.1, round(0.1 * (np.prod(pixels.shape[1:]) / 64) ** 0.284, 2)))
    return model | {
        "likelihood": ("gaussian", f"many shades: {extreme:.0%} of the pixels are nearly black or white"),
        "sigma": (f"{sigma}", "grows with the number of pixels; smaller draws sharper and clusters less"),
        "rung_gate": ("1.0", "as in the shipped experiments with this likelihood"),
    }


def _choose_hidden(n_inputs: int, n_facets: int) -> Choice:
    if n_inputs < 200:
        widths, why = (256, 512), f"small: {n_inputs} numbers an image"
    elif n_inputs < 2000:
        widths, why = (500, 2000), f"{n_inputs} numbers an image, as MNIST has 784"
    else:
        widths, why = (500, 1000), f"{n_inputs} numbers an image: a wide first layer costs most"
    return str([list(widths)] if n_facets == 1 else [[width] for width in widths]), why


def _choose_latents(is_colour: bool, n_facets: int, is_simple: bool) -> Choice:
    if n_facets == 1:
        return "[5]", f"one facet: fewer than {_FEW_DIRECTIONS} directions hold 90 % of what varies, too little for two"
    if is_simple:
        return "[10, 1]", "facet 0 is shallow; facet 1, deep, would take all there is of images as simple as these"
    return ("[10, 5]", "facet 0 is shallow, facet 1 deep") if is_colour else ("[5, 5]", "as for MNIST")


def _choose_training(n_images: int, n_facets: int) -> dict[str, Choice]:
    batch_size = 16 if n_images < 300 else 32 if n_images < 3000 else 64 if n_images < 10_000 else 128
    epochs = max(6, round(_STEPS * batch_size / n_images / n_facets))
    phases = [
        f"{{epochs: {epochs}, fade_in: {fade_in}, refit_at: {refit_at}}}"
        for fade_in, refit_at in ([(0.0, 0.5)] if n_facets == 1 else [(0.0, 1.0), (0.3, 0.5)])
    ]
    order = "" if n_facets == 1 else "facet 1 alone, then both; "
    return {
        "batch_size": (str(batch_size), "small for few images, so that there are enough steps"),
        "mixture_rate": ("10.0", "as in the shipped experiments of this size"),
        "decay": ("restarts", "each phase cools down"),
        "phases": (f"[{', '.join(phases)}]", f"{order}about {_STEPS:,} steps in all"),
    }
