"""The merged root (specification, 3.3)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from copick.models import PickableObject

from copickfs.api import finding, proxies
from copickfs.api.entity import Classes
from copickfs.api.factory import ProxyFactory
from copickfs.api.manager import LayerManager
from copickfs.api.root import TreeRoot
from copickfs.api.specific import specific_of
from copickfs.api.trees import MergedTree
from copickfs.config import from_string as _config_from_string
from copickfs.config import load
from copickfs.config.models import CopickConfigMultilayer
from copickfs.errors import Unavailable
from copickfs.indexing import require_one_of
from copickfs.layers.objects import objects_told
from copickfs.stack import Shared, StackOptions

if TYPE_CHECKING:
    import os
    from collections.abc import Collection
    from types import TracebackType
    from typing import Self

    from copickfs.indexing import Summary

_SETTLE_S = 30.0


class CopickRootMultilayer(TreeRoot):
    """A copick root of a whole stack of layers.

    All roots of one configuration in a process share its layers, cache and index, which are opened
    when they are first needed and closed when the interpreter ends. A root can be pickled, and be used from
    any thread, in forked and in spawned processes.

    Args:
        config: The configuration.
        read_only: Write nothing, whatever the configuration says.
        offline: Reach for nothing on a network: answer from local layers, the cache and the index.

    Attributes:
        config: As given.
        layer_manager: The layers.
        proxy_factory: Makes proxies of the objects of single layers.
    """

    _has_asked: bool

    classes = Classes(
        run=proxies.CopickRunMultilayer,
        voxel_spacing=proxies.CopickVoxelSpacingMultilayer,
        tomogram=proxies.CopickTomogramMultilayer,
        features=proxies.CopickFeaturesMultilayer,
        picks=proxies.CopickPicksMultilayer,
        filaments=proxies.CopickFilamentsMultilayer,
        mesh=proxies.CopickMeshMultilayer,
        segmentation=proxies.CopickSegmentationMultilayer,
        object=proxies.CopickObjectMultilayer,
    )

    def __init__(
        self, config: CopickConfigMultilayer, *, read_only: bool = False, offline: bool = False
    ) -> None:
        shared = Shared(config, StackOptions(read_only=read_only, offline=offline))
        super().__init__(config, MergedTree(shared))
        self.layer_manager = LayerManager(config, shared, self)
        self.proxy_factory = ProxyFactory()

    @property
    def config(self) -> CopickConfigMultilayer:
        """The configuration. Where it names no objects it has those that layers tell of, such as a portal."""
        config = self._config
        if not (config.pickable_objects or self._has_asked) and _may_tell(config):
            self._has_asked = True
            told = objects_told(self.tree.stack.manager.get_data_layers())
            config.pickable_objects.extend(PickableObject(**each) for each in told)
        return config

    @config.setter
    def config(self, config: CopickConfigMultilayer) -> None:
        self._config = config
        self._has_asked = False

    def __repr__(self) -> str:
        return f"<CopickRootMultilayer of {self.layer_manager!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **options: bool) -> Self:
        """The root of a configuration file; see `from_file`."""
        return cls(load(path, model=CopickConfigMultilayer), **options)

    def layer_specific(self, name: str) -> Any:
        """What the layer called ``name`` can do besides holding data (specification, 2.4).

        Returns:
            `IndexFeatures`, `CacheFeatures`, or for a data layer what its kind has, such as
            `FilesystemFeatures` or `PortalFeatures`.

        Raises:
            ConfigError: There is no layer of this name.
        """
        for service in (self.layer_manager.cache_layer, self.layer_manager.db_layer):
            if service is not None and service.name == name:
                return service
        return specific_of(self.layer_manager.get_layer(name))

    def find_objects(self, **criteria: Any) -> dict[str, list[Any]]:
        """The objects that meet all criteria, from the index if there is one (specification, 7.2).

        Args:
            criteria: ``type`` (a word such as ``"picks"``, or several), ``run``, ``object``, ``user``,
                ``session``, ``name``, ``voxel_size`` (Angstrom), ``layer``, ``segmentation_type``; names
                may be patterns. copick's own words (``user_id``, ``tomo_type``, ...) are accepted.

        Returns:
            For each kind that was asked for its objects, in the order of their paths.

        Raises:
            UserError: A criterion, a kind or a layer is not known.
            Unavailable: There is no index yet, and a layer is out of reach.
        """
        words = finding.criteria_in_words(criteria)
        require_one_of(self.config.data_layers, words.get("layer"), "layer")
        answer = self._settled().find_objects(**words)
        return finding.objects_of(self, answer)

    def search(
        self, query: str, object_types: Collection[str] | None = None, limit: int | None = None
    ) -> dict[str, list[Any]]:
        """The objects in whose names all words of ``query`` are, the best first (specification, 7.3).

        Args:
            query: Words, ``"phrases"`` and ``begin*``.
            object_types: Kinds such as ``["picks", "runs"]``; None for all.
            limit: Most objects of each kind; None for all.

        Raises:
            UserError: A kind is not known.
            Unavailable: As for `find_objects`.
        """
        return finding.objects_of(self, self._settled().search(query, object_types, limit))

    def index_all_layers(self, *, full: bool = False) -> Summary:
        """Bring the index up to date, in this process (specification, 7.1).

        Args:
            full: Read everything again, also what has not changed.

        Raises:
            IndexUnavailable: There is no index, or it cannot be written.
        """
        return self.tree.stack.catalog.index(full=full)

    def refresh_all(self) -> None:
        """Forget everything that is remembered of the layers, and of the objects of this root."""
        self.layer_manager.refresh_all()
        self._invalidate_all_caches()

    reconnect = refresh_all

    def flush(self, timeout_s: float = 600.0) -> bool:
        """Wait until what ``cache_and_propagate`` has accepted is at its source; True if it is.

        Args:
            timeout_s: How long to wait at most. What is not sent then is sent by whoever opens the
                configuration next.
        """
        return self.layer_manager.flush(timeout_s)

    def close(self) -> None:
        """Close the layers, also for other roots of this configuration; using one opens them again."""
        self.layer_manager.shared.close()

    def _settled(self) -> Any:
        """The index, once it has heard of all that was changed through this process."""
        stack = self.tree.stack
        if stack.index.keeper is not None:
            stack.index.keeper.settle(_SETTLE_S)
        stack.catalog.after_walk = _require_whole
        return stack.catalog


def _require_whole(summary: Summary) -> None:
    """Without an index, what could not be asked just now must not look as if it were not there."""
    if not summary.is_whole:
        directory, reason = summary.skipped[0]
        more = f", and {len(summary.skipped) - 1} more" if len(summary.skipped) > 1 else ""
        raise Unavailable(f"no index was made yet, and {directory!r} cannot be looked at{more}: {reason}")


def _may_tell(config: CopickConfigMultilayer) -> bool:
    """True if a layer is of a kind that may know of objects: then the layers are opened to ask."""
    return any(config.layer_configs[name].config_type != "filesystem" for name in config.data_layers)


def from_file(
    path: str | os.PathLike[str], *, read_only: bool = False, offline: bool = False
) -> CopickRootMultilayer:
    """The merged root of a configuration file: a stack of layers, or an ordinary copick configuration.

    Args:
        path: The file.
        read_only: Write nothing, whatever the configuration says.
        offline: Reach for nothing on a network.

    Raises:
        ConfigError: The configuration cannot be used; one line names file, key and remedy.
    """
    return CopickRootMultilayer.from_file(path, read_only=read_only, offline=offline)


def from_string(
    text: str, *, base_directory: str | os.PathLike[str] = ".", read_only: bool = False, offline: bool = False
) -> CopickRootMultilayer:
    """The merged root of a configuration in JSON.

    Args:
        text: The configuration.
        base_directory: What relative paths in it are relative to.
        read_only: Write nothing, whatever the configuration says.
        offline: Reach for nothing on a network.

    Raises:
        ConfigError: As for `from_file`.
    """
    config = _config_from_string(text, base_directory=Path(base_directory), model=CopickConfigMultilayer)
    return CopickRootMultilayer(config, read_only=read_only, offline=offline)
