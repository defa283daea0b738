"""What needs a trained model and the tables' format at once: assignment files and the page's showcase."""

from pipeline.assignment.assign import Shard as Shard
from pipeline.assignment.assign import assign_images as assign_images
from pipeline.assignment.assign import assign_shards as assign_shards
from pipeline.assignment.assign import shards_of_store as shards_of_store
from pipeline.assignment.corpus import open_corpus as open_corpus
from pipeline.assignment.showcase import build_showcase as build_showcase
