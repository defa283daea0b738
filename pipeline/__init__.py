"""Several clusterings of the same images, as tables."""
