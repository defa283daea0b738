"""Frozen networks that make features of images; each file here is one kind, listed in ``pipeline.config.backbones``.

No package imports its modules: torch and the networks' own packages load when a network is opened.
"""
