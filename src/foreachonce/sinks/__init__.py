"""The sinks, one file each; none imports another."""
