"""From a reader to the prepared store of an experiment: identity, splits, order."""
