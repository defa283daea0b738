"""Measurements: every figure in README and docs is a line of ``benchmarks/results/``, written by one of these."""
