"""Benchmarks: run them by ``make bench``; benchmarks/README.md holds the last results."""
