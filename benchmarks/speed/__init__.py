"""Speed against peers and floors: interleaved rounds, medians, ratios. `python -m benchmarks.speed`."""
