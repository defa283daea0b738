"""From images and a trained model to assignment files."""

from pipeline.assignment.assign import Shard as Shard
from pipeline.assignment.assign import assign_shard as assign_shard
from pipeline.assignment.assign import assign_shards as assign_shards
from pipeline.assignment.assign import shards_of_store as shards_of_store
