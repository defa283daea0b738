"""Sources of images: one module each, all with the interface of :mod:`pipeline.datasets.readers.base`."""
