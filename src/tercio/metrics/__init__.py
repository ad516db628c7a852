"""Counters, gauges and histograms that add up over all workers."""
