"""Which tests are measured by coverage: all that run copickfs in their own process, and a few on mounts.

Coverage takes a fifth to a half of the CPU time of tests in ``tests/mounted`` and ``tests/posix``: daemons,
commands, servers, and the processes that tests fork are all slowed down, and run the same lines again. So
only the modules in `MEASURED` are measured there: of those that were tried, the ones that add most lines of
``ops``, ``daemon``, ``fetching`` and ``cli`` to what ``tests/units`` and ``tests/contracts`` reach.
A line that is reached by other
modules alone counts as missed in the report; it is tested all the same.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from coverage import Coverage

if TYPE_CHECKING:
    from pathlib import Path

HERE = os.path.dirname(__file__)
UNMEASURED_DIRECTORIES = tuple(os.path.join(HERE, name, "") for name in ("mounted", "posix"))
MEASURED = {
    "test_cli_cache.py",
    "test_cli_mount.py",
    "test_cli_prefetch.py",
    "test_cli_writing.py",
    "test_find.py",
    "test_lifecycle_umount.py",
    "test_writing_programs.py",
    "test_views_mount.py",
}
_VARIABLE = "COVERAGE_PROCESS_CONFIG"
"""What coverage's patch "subprocess" sets: child processes that have it measure themselves."""


class Measuring:
    """Coverage of this process and of those it starts, if it is measured at all."""

    def __init__(self) -> None:
        self._coverage = Coverage.current()
        self._config = os.environ.get(_VARIABLE)
        self._is_on = True

    def turn(self, module: Path) -> None:
        """Measure or do not, as it is right for the tests of ``module``."""
        is_wanted = module.name in MEASURED or not str(module).startswith(UNMEASURED_DIRECTORIES)
        if self._coverage is None or is_wanted == self._is_on:
            return
        self._is_on = is_wanted
        if is_wanted:
            self._coverage.start()
            if self._config is not None:
                os.environ[_VARIABLE] = self._config
        else:
            self._coverage.stop()
            self._coverage.save()  # or each process that a test forks would save the same again
            os.environ.pop(_VARIABLE, None)
