"""Real servers for tests, demo and benchmarks: databases, brokers, and the jars and classes that Spark starts with."""
