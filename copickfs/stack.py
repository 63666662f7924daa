"""One configuration as one living stack: layers, merged tree, writer, cache and index.

Every face is built on one: the daemon on a stack of its own, the copick API and the fsspec file system on
one that all their objects in a process share (`Shared`). Such a stack is closed when the interpreter
ends. A forked child never uses its parent's, whose threads, locks and connections it does not have: it
builds its own when it first needs one.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import multiprocessing
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from copickfs.indexing.facts import ProjectFacts
from copickfs.indexing.kept import KeptIndex
from copickfs.layers.base import is_prompt
from copickfs.layers.kinds import BuildContext
from copickfs.layers.manager import LayerManager
from copickfs.layers.writable import is_writable
from copickfs.view import View
from copickfs.view.writing import Writer
from copickfs.virtual.project import Limits, Pickable, Project
from copickfs.virtual.renderers import Renderers, load
from copickfs.virtual.viewslayer import ViewsLayer

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.config import MultilayerConfig
    from copickfs.errors import Transient
    from copickfs.indexing import Catalog
    from copickfs.layers.base import Layer
    from copickfs.virtual.control import ControlLayer

_log = logging.getLogger(__name__)


class StackOptions(NamedTuple):
    """How a configuration is served.

    Attributes:
        read_only: Change nothing, whatever the configuration says.
        offline: Reach for nothing on a network.
        confined: Other users are served: symbolic links out of a root are refused.
        mountpoint: Where the tree is mounted; a layer must never reach into it.
    """

    read_only: bool = False
    offline: bool = False
    confined: bool = False
    mountpoint: str = ""


_DEFAULT = StackOptions()


class Stack:
    """The layers of one configuration and all that stands on them.

    Built in steps, because a daemon has something to do between them: construction reaches for nothing
    but the index, `connect` for the sources; `assemble` makes the tree, `attach_index` its index, which
    ``index.start()`` begins to keep.

    Args:
        config: See `copickfs.config.load`.
        config_file: Its absolute path; None if it comes from no file.
        options: How it is served.

    Attributes:
        config: As given.
        options: As given.
        pid: The process that it belongs to.
        manager: The layers.
        index: The index.
        writer: What changes the tree; None if nothing does.
        absent: What `connect` has returned.
        uses: How often it was asked for, where it is shared.
        closed: It cannot be used any more.
        read_only: Nothing can be written.
    """

    def __init__(
        self, config: MultilayerConfig, config_file: str | None, options: StackOptions = _DEFAULT
    ) -> None:
        self.config = config
        self.options = options
        self.pid = os.getpid()
        written = frozenset() if options.read_only else config.written_layers
        self.read_only = not written
        self.index = KeptIndex(config, config_file, offline=options.offline)
        context = BuildContext(
            watch=True,
            confined=options.confined,
            mountpoint=options.mountpoint,
            writable=written,
            write_strategy=config.write_strategy,
            database=self.index.database,
            offline=options.offline,
        )
        try:
            self.manager = LayerManager(config, context)
        except BaseException:
            self.index.close()
            raise
        self._view: View | None = None
        self._alone: dict[str, View] = {}
        self.writer: Writer | None = None
        self.absent: list[tuple[Layer, Transient]] = []
        self.uses = 0
        self.closed = False

    def __repr__(self) -> str:
        return f"<Stack of {self.manager!r}>"

    @property
    def view(self) -> View:
        """The merged tree."""
        assert self._view is not None  # noqa: S101 -- `assemble` comes first
        return self._view

    @property
    def catalog(self) -> Catalog:
        """Finds and searches entities, in the index if there is one."""
        assert self.index.catalog is not None  # noqa: S101 -- `assemble` comes first
        return self.index.catalog

    @property
    def is_prompt(self) -> bool:
        """All layers are on a local disk: no call waits for a network."""
        return all(map(is_prompt, self.view.layers))

    def view_of(self, name: str) -> View:
        """The tree of one data layer alone."""
        alone = self._alone.get(name)
        if alone is None:
            alone = self._alone.setdefault(name, View((self.manager.get_layer(name),)))
            self.view.membership.subscribe_own(alone.membership.announce)
        return alone

    def connect(self, progress: Callable[[str], None] | None = None) -> list[tuple[Layer, Transient]]:
        """Check, once, that the layers can be reached; those that are out of reach, with their faults.

        Args:
            progress: Told, in one line, what a layer is at that takes long; from any thread.

        Raises:
            ConfigError: A layer can never work as it is configured.
        """
        self.absent = self.manager.connect_layers(tolerate_outages=True, progress=progress)
        return self.absent

    def assemble(self, control: ControlLayer | None = None) -> None:
        """Make the merged tree, and what changes it if anything can be written.

        Args:
            control: The files that copickfs adds at the root.
        """
        self._view = View(self.manager.get_data_layers(), control)
        if self.read_only:
            return
        name = self.manager.default_write_layer
        default = None if name is None else self.manager.get_layer(name)
        self.writer = Writer(
            self._view,
            default if default is not None and is_writable(default) else None,
            strategy=self.config.write_strategy,
            small_store_bytes=self.config.complete_below_bytes,
        )

    def attach_index(self, served: Callable[[], int] = int) -> None:
        """Let the index be that of the tree.

        Args:
            served: How many requests have been answered so far; the index is kept in the pauses.
        """
        self.index.attach(self.view, self.manager, served)
        if self.config.views.is_on:
            self.view.generate(self._generated())

    def _generated(self) -> ViewsLayer:
        """The files that are made of what the layers have."""
        views, cache = self.config.views, self.config.cache_config
        limits = Limits(views.memory_bytes, views.spill_bytes)
        if cache is not None:
            limits = limits._replace(spill_directory=str(cache.root), floor_bytes=cache.min_free_bytes)
        objects = {
            each.name: Pickable(
                each.name, each.label, each.color, each.radius, each.is_particle, each.is_filament
            )
            for each in self.config.pickable_objects
        }
        project = Project(self.view, ProjectFacts(self.catalog), objects)
        return ViewsLayer(project, Renderers(lambda: load(views.formats, limits)))

    def close(self) -> None:
        """Let go of everything; what waits to be sent stays in its journal. Idempotent."""
        self.closed = True
        self.index.end()
        if self._view is not None and self._view.generated is not None:
            self._view.generated.close()
        if self.writer is not None:
            self.writer.close()
        self.manager.close()
        self.index.close()


class Shared:
    """The stack that all users of one configuration in a process share, opened when it is first asked for.

    It can be pickled, and be used after a fork: the other process opens a stack of its own.

    Args:
        config: See `copickfs.config.load`.
        options: How it is served.
    """

    def __init__(self, config: MultilayerConfig, options: StackOptions = _DEFAULT) -> None:
        self.config = config
        self.options = options
        file = config.source_file
        self._key = (_digest(config), "" if file is None else str(Path(file).absolute()), options)
        self._stack: Stack | None = None

    def __repr__(self) -> str:
        return f"<Shared stack of {', '.join(self.config.layers)}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shared) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stack": None}

    def get(self) -> Stack:
        """The stack, connected; a layer that is out of reach just now is asked again when it is needed.

        Raises:
            ConfigError: A layer can never work as it is configured.
        """
        stack = self._stack
        if stack is None or stack.closed or stack.pid != os.getpid():
            stack = self._stack = _registry.get(self._key, self.config)
        stack.uses += 1
        return stack

    def close(self) -> None:
        """Close the stack, also for all others who share it; whoever uses it again opens a new one."""
        _registry.close(self._key)


_Key = tuple[str, str, StackOptions]


class _Registry:
    """The shared stacks of this process."""

    def __init__(self) -> None:
        self._opening: dict[_Key, threading.Lock] = {}
        self._stacks: dict[_Key, Stack] = {}
        self._parents: list[dict[_Key, Stack]] = []

    def get(self, key: _Key, config: MultilayerConfig) -> Stack:
        with self._opening.setdefault(key, threading.Lock()):
            stack = self._stacks.get(key)
            if stack is None or stack.closed:
                stack = self._stacks[key] = _open(config, key[1] or None, key[2])
            return stack

    def close(self, key: _Key) -> None:
        with self._opening.setdefault(key, threading.Lock()):
            stack = self._stacks.pop(key, None)
            if stack is not None:
                stack.close()

    def close_all(self) -> None:
        for key in list(self._stacks):
            self.close(key)

    @property
    def is_forked(self) -> bool:
        """True in a process that was forked from one with this module."""
        return bool(self._parents)

    def begin_child(self) -> None:
        """This process has just been forked.

        The parent's stacks are neither used nor closed nor collected here: their threads are gone,
        their locks may be held for ever, and their database is not to be touched by two processes.
        """
        self._parents.append(self._stacks)
        self._opening, self._stacks = {}, {}


def _open(config: MultilayerConfig, config_file: str | None, options: StackOptions) -> Stack:
    # Of the workers of a pool each would make whole runs of indexing by itself.
    is_worker = _registry.is_forked or multiprocessing.parent_process() is not None
    stack = Stack(config, None if is_worker else config_file, options)
    try:
        for layer, error in stack.connect():
            _log.warning("layer %s is out of reach: %s", layer.name, error)
        stack.assemble()
        stack.attach_index(lambda: stack.uses)
        stack.index.start()
    except BaseException:
        stack.close()
        raise
    return stack


def _digest(config: MultilayerConfig) -> str:
    document = config.model_dump_json().encode(errors="surrogatepass")
    return hashlib.blake2b(document, digest_size=16).hexdigest()


_registry = _Registry()
close_shared = _registry.close_all
"""Close all shared stacks of this process; whoever uses one opens it again."""

os.register_at_fork(after_in_child=_registry.begin_child)
atexit.register(close_shared)
