"""sash beside its peers: the same jobs on the same arrays in one run, checked first, then timed in turns.

``python -m benchmarks [suite ...]`` from the root of the repository; see README.md here.
"""
