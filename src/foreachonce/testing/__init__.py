"""The project's own tests for anyone who writes a sink: a contract suite, fault points, streams and real drivers."""
