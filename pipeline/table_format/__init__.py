"""How rows become Parquet files of fixed bytes: schemas, writers, digests of content."""
