"""copickfs beside the file systems that could do its job: the same work, side by side, in one run.

``python -m benchmarks`` from the root of the repository; ``--help`` names the options.
"""
