"""The Multi-Facet Clustering VAE: networks, mixture priors, the bound, and trained models in use.

Layers and densities have gradients written out here instead of being composed of torch.nn and torch.distributions. What
that gains: a training step takes half of the time of such a one (benchmarks/training.py, benchmarks/convolution.py).
"""

from pipeline.model.frozen import Assigner as Assigner
from pipeline.model.frozen import FrozenModel as FrozenModel
from pipeline.model.frozen import MixtureView as MixtureView
from pipeline.model.frozen import load_model as load_model
from pipeline.model.mfcvae import MultiFacetVae as MultiFacetVae
from pipeline.model.posterior import DiagonalNormal as DiagonalNormal
