"""Judging without labels: whether a model may be published, and whether new images are like the old ones."""
