"""All that touches Spark: the epoch behind a batch frame, its checkpoint's files, its rows as Arrow."""
