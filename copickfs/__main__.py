"""``python -m copickfs``."""

from __future__ import annotations

from copickfs.cli.main import main

if __name__ == "__main__":
    main()
