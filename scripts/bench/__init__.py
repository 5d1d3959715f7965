"""Benchmarks: a cycle beside other designs and beside bare pods."""
