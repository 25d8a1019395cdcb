"""What the project's own tests are made of, for anyone who writes a sink: a contract suite, real drivers, real servers."""
