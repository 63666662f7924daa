"""The merged tree as a FUSE file system (pyfuse3, trio).

Concurrency: every handler runs on trio's event loop. What can be answered from memory, or by a call
of the operating system that does not wait, is answered there; everything else goes to a worker thread
in the lane of the layer that would block (`copickfs.ops.lanes`). State is changed by synchronous code
between awaits only, so no lock is held across one.
"""

from copickfs.ops.filesystem import Filesystem

__all__ = ["Filesystem"]
