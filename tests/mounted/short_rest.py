"""copickfs, but that a cache which cannot be used is looked at again after a second, not after a minute."""

from __future__ import annotations

import copickfs.cache.disk
from copickfs.cli.main import main

if __name__ == "__main__":
    copickfs.cache.disk.REST_S = 1.0
    main()
