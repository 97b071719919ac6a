"""What is fast and what is not, measured beside a limit or a peer in the same run. `make bench`, or `python -m benchmarks`.

Measurements, not tests: nothing here fails for being slow. Each module `bench_NAME` has `figures(options)`.
"""
