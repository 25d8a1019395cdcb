"""Speed, as ratios of one run: ``make bench``."""
