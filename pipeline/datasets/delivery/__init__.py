"""From a delivery of new images to an immutable shard."""
