"""Likelihoods of the inputs, one file each; :mod:`pipeline.config.likelihoods` lists them."""
