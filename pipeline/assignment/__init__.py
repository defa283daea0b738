"""From images and a trained model to assignment files.

Reading, encoding and writing overlap here instead of following each other. What that gains: all of it takes 1.7 to 1.9
times as long as the encoder's matrix products alone, and memory does not grow with the images (benchmarks/assign.py).
"""

from pipeline.assignment.assign import Shard as Shard
from pipeline.assignment.assign import assign_shard as assign_shard
from pipeline.assignment.assign import assign_shards as assign_shards
from pipeline.assignment.assign import shards_of_store as shards_of_store
