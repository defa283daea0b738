"""The Multi-Facet Clustering VAE: networks, mixture priors, the bound, and trained models in use."""

from pipeline.model.frozen import Assigner as Assigner
from pipeline.model.frozen import FrozenModel as FrozenModel
from pipeline.model.frozen import MixtureView as MixtureView
from pipeline.model.frozen import load_model as load_model
from pipeline.model.mfcvae import MultiFacetVae as MultiFacetVae
from pipeline.model.posterior import DiagonalNormal as DiagonalNormal
