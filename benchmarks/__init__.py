"""What is measured, against whom: run ``make bench``; the last results stand in benchmarks/README.md."""
