"""Gaussian mixtures fitted to latents: EM, the priors' start values, and their refits during training."""

from pipeline.mixture.directions import learn_directions as learn_directions
from pipeline.mixture.fit import fits_at_once as fits_at_once
from pipeline.mixture.hinted import HintedRows as HintedRows
from pipeline.mixture.initial import init_mixtures as init_mixtures
from pipeline.mixture.refit import REFIT_IMAGES as REFIT_IMAGES
from pipeline.mixture.refit import refit_mixtures as refit_mixtures
