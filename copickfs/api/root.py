"""Roots of a tree: what the merged one and those of single layers have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from copick.models import CopickRoot, CopickRunMeta, PickableObject

from copickfs import paths
from copickfs.api import tree as trees
from copickfs.api.entity import Classes, forget
from copickfs.api.points import TreeFilaments, TreeMesh, TreePicks
from copickfs.api.run import TreeRun
from copickfs.api.segmentations import TreeObject, TreeSegmentation
from copickfs.api.trees import LayerTree
from copickfs.api.volumes import TreeFeatures, TreeTomogram, TreeVoxelSpacing
from copickfs.entities import RUNS_DIRECTORY
from copickfs.errors import InvalidName, NotWritable

if TYPE_CHECKING:
    import os

    from copickfs.api.tree import Tree
    from copickfs.layers.base import Layer
    from copickfs.stack import Shared


class TreeRoot(CopickRoot):
    """The root of a tree; see ``copick.models.CopickRoot``.

    Args:
        config: A copick configuration.
        tree: The tree.

    Attributes:
        tree: As given.
        classes: The classes of its objects.
    """

    classes: ClassVar[Classes]
    _runs: list[Any] | None
    _objects: list[Any] | None

    def __init__(self, config: Any, tree: Tree) -> None:
        self.tree = tree
        super().__init__(config)
        self._runs = None  # copick would make runs of its own of those that a configuration names

    def query(self) -> list[Any]:
        """The runs that are there now."""
        make = self.classes.run
        return [
            make(self, CopickRunMeta(name=identity.run))
            for identity in trees.identities(self.tree, RUNS_DIRECTORY)
        ]

    def get_run(self, name: str, **kwargs: Any) -> Any:
        """The run of this name; None if there is none. One that came since `runs` was asked is found, too."""
        for known in self._runs or ():
            if known.name == name:
                return known
        if not _can_be_run(name):  # "..", for one, is a directory, but above all runs
            return None
        run = self.classes.run(self, CopickRunMeta(name=name, **kwargs))
        return run if run.ensure() else None

    def create_run(self, name: str, exist_ok: bool = False, **kwargs: Any) -> Any:
        """Make a run in the layer that is written (specification, 3.3).

        Args:
            name: Its name.
            exist_ok: Return the run if there is one of this name.
            kwargs: Of the run's metadata; what that does not have is left out.

        Raises:
            ValueError: There is one of this name, or it is no name.
            NotWritable: No layer is written; a ``PermissionError``.
        """
        if not _can_be_run(name):
            raise ValueError(f"{name!r} cannot be the name of a run")
        run = self.get_run(name)
        if run is not None:
            if not exist_ok:
                raise ValueError(f"Run name {name} already exists.")
            return run
        run = self.classes.run(self, CopickRunMeta(name=name, **kwargs))
        run.store()
        if self._runs is not None:
            self._runs.append(run)
        return run

    new_run = create_run

    def delete_run(self, name: str) -> None:
        """Delete the run of this name, if there is one."""
        run = self.get_run(name)
        if run is not None:
            run.delete()
            forget(self._runs, run)

    def create_picks(self, run_name: str, object_name: str, session_id: str, **kwargs: Any) -> Any:
        """Make picks in a run; see ``CopickRun.new_picks``."""
        return self._run(run_name).new_picks(object_name, session_id, **kwargs)

    def create_segmentation(
        self, run_name: str, voxel_size: float, name: str, session_id: str, **kwargs: Any
    ) -> Any:
        """Make a segmentation in a run (specification, 5.2); see ``CopickRun.new_segmentation``."""
        return self._run(run_name).new_segmentation(voxel_size, name, session_id, **kwargs)

    def save_config(self, config_path: str | os.PathLike[str]) -> None:
        """Write the configuration to a file.

        A configuration that was read from a file keeps the text of all keys that are not copick's own:
        variables such as ``${LAB_PASSWORD}`` stay variables.
        """
        document = self.config.model_dump(mode="json")
        source = getattr(self.config, "source_file", None)
        if source is not None and Path(source).is_file():
            document = {**json.loads(Path(source).read_text("utf-8-sig")), **self.config.project()}
        Path(config_path).write_text(json.dumps(document, indent=4, ensure_ascii=False) + "\n", "utf-8")

    def _run(self, name: str) -> Any:
        run = self.get_run(name)
        return self.create_run(name) if run is None else run

    def _run_factory(self) -> tuple[type[Any], type[CopickRunMeta]]:
        return self.classes.run, CopickRunMeta

    def _object_factory(self) -> tuple[type[Any], type[PickableObject]]:
        return self.classes.object, PickableObject


class LayerRoot(TreeRoot):
    """A copick root of one data layer alone, as if there were no other (specification, 3.2).

    Args:
        config: The layer's configuration, with the objects of the project.
        shared: The stack that the layer is of.

    Attributes:
        name: Name of the layer.
        priority: Higher is asked first.
    """

    classes = Classes(
        run=TreeRun,
        voxel_spacing=TreeVoxelSpacing,
        tomogram=TreeTomogram,
        features=TreeFeatures,
        picks=TreePicks,
        filaments=TreeFilaments,
        mesh=TreeMesh,
        segmentation=TreeSegmentation,
        object=TreeObject,
    )

    def __init__(self, config: Any, shared: Shared) -> None:
        super().__init__(config, LayerTree(shared, config.layer_name))
        self.name: str = config.layer_name
        self.priority: int = config.priority

    def __repr__(self) -> str:
        return f"<LayerRoot {self.name}>"

    @property
    def layer(self) -> Layer:
        """The layer itself, which speaks paths and bytes."""
        return self.tree.stack.manager.get_layer(self.name)

    @property
    def read_only(self) -> bool:
        """True if this layer is not written."""
        try:
            self.tree.check_writable("")
        except NotWritable:
            return True
        return False

    def reconnect(self) -> None:
        """Forget what is remembered of the source."""
        self.layer.refresh()
        self.tree.view.membership.announce("")
        self._invalidate_all_caches()


def _can_be_run(name: str) -> bool:
    """True if a run can have this name: it is one component of a path, and not hidden."""
    try:
        return paths.normalise(name) == name != "" and "/" not in name and not name.startswith(".")
    except InvalidName:
        return False
