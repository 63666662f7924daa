"""A portal in a process of its own, as for measurements: ``python -m tests.portal --runs 5000``.

Prints one line of JSON that says where everything is, then serves until its standard input ends.
"""

from __future__ import annotations

import argparse
import json
import sys

from tests.portal.local import LocalPortal


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--files-per-run", type=int, default=20)
    parser.add_argument("--written", type=int, default=3, help="number of runs that have files")
    chosen = parser.parse_args()
    with LocalPortal(chosen.runs, chosen.files_per_run, chosen.written) as portal:
        where = {"url": portal.url, "fs_args": portal.fs_args, "dataset_ids": [portal.dataset["id"]]}
        sys.stdout.write(json.dumps({**where, "bucket": portal.files.bucket}) + "\n")
        sys.stdout.flush()
        for line in sys.stdin:  # a line asks for the numbers of requests, and starts the counts again
            counts = {"graphql": portal.server.counts(), "files": sum(portal.files.counts().values())}
            sys.stdout.write(json.dumps(counts) + "\n")
            sys.stdout.flush()
            if line.strip() == "forget":
                portal.forget()


if __name__ == "__main__":
    main()
