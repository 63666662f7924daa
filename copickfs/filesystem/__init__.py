"""The stack as an fsspec file system, ``copickfs://``, for programs that open files by it; without a mount.

`CopickFileSystem` is what fsspec finds by its entry point. What it shows and does is the merged tree's
(`copickfs.view`); nothing is remembered here. It stands on the stack that all users of the configuration
in the process share (`copickfs.stack`), and opens it again in another process.
"""

from __future__ import annotations

from copickfs.filesystem.tree import CopickFileSystem

__all__ = ["CopickFileSystem"]
