"""The published model for programs: images in, a frame of clusters out, wherever the model lies."""

from pipeline.prediction.loading import load as load
from pipeline.prediction.published_model import PublishedModel as PublishedModel
