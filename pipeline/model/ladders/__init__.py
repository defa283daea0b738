"""Ladders of networks, one file each; :mod:`pipeline.config.ladders` lists them."""
