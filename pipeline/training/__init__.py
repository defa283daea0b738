"""Training: start values, the progressive schedule, the engine, resume, selection."""

from pipeline.training.in_memory import train_in_memory as train_in_memory
from pipeline.training.initialise import initialise as initialise
from pipeline.training.loop import TrainedSeed as TrainedSeed
from pipeline.training.selection import SeedOutcome as SeedOutcome
from pipeline.training.selection import select_seed as select_seed
from pipeline.training.train import train as train
