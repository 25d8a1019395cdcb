"""One file or two for each kind of database; no file imports another kind."""
