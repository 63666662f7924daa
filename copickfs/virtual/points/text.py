"""Numbers in rows of fixed length, so that the length of a text follows from the number of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pydantic_core

if TYPE_CHECKING:
    import numpy as np

EXACT_WIDTH = 24
"""No float64 needs more characters to be told from every other: ``-2.2250738585072014e-308``."""

INTEGER_WIDTH = 20
"""No int64 needs more: ``-9223372036854775808``."""

_POINT_ONLY = (1e-4, 1e16)
"""`repr` writes numbers from the one to the other, and 0, without an exponent."""


def encoded(text: str) -> bytes:
    """UTF-8, with the bytes of names that are not."""
    return text.encode("utf-8", "surrogateescape")


def exact(table: np.ndarray) -> list[str]:
    """The rows of a table, with commas between the numbers, each as `repr` writes it.

    Args:
        table: float64 (n, columns), finite.
    """
    import numpy as np

    if not len(table):
        return []
    # A quarter of the time of repr, and the same where no number has an exponent.
    rows = pydantic_core.to_json(table.tolist()).decode()[2:-2].split("],[")
    sizes = np.abs(table)
    has_exponent = (sizes < _POINT_ONLY[0]) & (sizes != 0) | (sizes >= _POINT_ONLY[1])
    for row in np.flatnonzero(has_exponent.any(axis=1)).tolist():
        rows[row] = ",".join(map(repr, table[row].tolist()))
    return rows


class Decimals:
    """Columns of numbers with six digits after the point, as copick and RELION write STAR files.

    A number that is too long for its column is written with nine significant digits and an exponent.

    Args:
        columns: What is in a row: ``"angle"`` (11 characters, -180 to 180), ``"length"`` (16 characters) or
            ``"integer"`` (20 characters).
    """

    _FORMATS: ClassVar = {"angle": "%11.6f", "length": "%16.6f", "integer": "%20d"}
    _LONG: ClassVar = {"length": "%16.8e"}
    _LONG_FROM = 9e7

    def __init__(self, *columns: str) -> None:
        self._columns = columns
        self._template = " ".join(self._FORMATS[column] for column in columns)
        self.row_bytes = len(self._template % tuple(0 for _ in columns))

    def rows(self, *values: np.ndarray) -> list[str]:
        """The rows.

        Args:
            values: One array (n,) for each column.
        """
        import numpy as np

        lists = [column.tolist() for column in values]
        rows = list(map(self._template.__mod__, zip(*lists, strict=True)))
        lengths = [each for name, each in zip(self._columns, values, strict=True) if name == "length"]
        is_long = np.any([np.abs(each) >= self._LONG_FROM for each in lengths], axis=0)
        for row in np.flatnonzero(is_long).tolist():
            rows[row] = " ".join(
                self._long(name, each[row]) for name, each in zip(self._columns, lists, strict=True)
            )
        return rows

    def _long(self, column: str, value: float) -> str:
        formats = self._LONG if abs(value) >= self._LONG_FROM else self._FORMATS
        return formats.get(column, self._FORMATS[column]) % value
