"""Benchmarks for airspeed velocity: times, peak memory, import time."""
