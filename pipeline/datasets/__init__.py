"""Sources of images, the prepared store, and everything between the two."""

from pipeline.datasets.labels import read_labels as read_labels
from pipeline.datasets.store import ImageStore as ImageStore
