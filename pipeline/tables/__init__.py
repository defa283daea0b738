"""Published tables: Parquet parts, versions, identities of clusters, SQL."""

from pipeline.tables.history import History as History
from pipeline.tables.query import paths as paths
from pipeline.tables.query import read as read
from pipeline.tables.sql import query as query
