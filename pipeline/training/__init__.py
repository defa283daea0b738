"""Training: start values, the progressive schedule, the engine, resume, selection."""

from pipeline.training.initialise import initialise as initialise
from pipeline.training.train import train as train
