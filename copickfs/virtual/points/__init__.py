"""Views of picks: what copick's own export writes (``copick.ops.export``), without copick, pandas or scipy.

The length of each file follows from the number of points and the names alone, so that nothing is read for a
listing: records of fixed length, and texts whose rows are filled up with blanks. ``picks`` reads,
``single`` and ``joined`` are what makes files of one and of many, and each format has a module: ``star``
with ``relion``, ``table`` (``.csv``), ``chimerax`` (``.cmm``), ``imod`` (``.mod``), ``dynamo`` (``.tbl``),
``tom`` (``.em``).
"""

from copickfs.virtual.points.chimerax import Cmm
from copickfs.virtual.points.dynamo import Tbl
from copickfs.virtual.points.imod import Mod
from copickfs.virtual.points.star import Star
from copickfs.virtual.points.table import Csv
from copickfs.virtual.points.tom import Em

__all__ = ["Cmm", "Csv", "Em", "Mod", "Star", "Tbl"]
