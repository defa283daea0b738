"""The model for notebooks: scikit-learn's conventions, arrays in memory, no files."""

from pipeline.estimator.clustering import MultiFacetClustering as MultiFacetClustering
