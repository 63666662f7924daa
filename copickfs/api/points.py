"""Picks, filaments and meshes of a tree."""

from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING, Any

from copick.models import (
    CopickFilaments,
    CopickFilamentsFile,
    CopickMesh,
    CopickMeshMeta,
    CopickPicks,
    CopickPicksFile,
)
from pydantic import ValidationError

from copickfs.api import tree as trees
from copickfs.api.entity import Entity, forget
from copickfs.errors import LayerError, Unreadable
from copickfs.layers import entitypaths

if TYPE_CHECKING:
    from collections.abc import Iterator


class _OfRun(Entity):
    """An object of a run that is one file, and tells who has made it."""

    run: Any
    meta: Any
    pickable_object_name: Any
    user_id: Any
    session_id: Any

    def _root(self) -> Any:
        return self.run.root

    def _with_what_is_stored(self, file: Any) -> Any:
        """What is there already, with all that was set of it: who has read nothing must not empty it."""
        try:
            stored = self._load()
        except trees.ABSENT:
            return file
        return stored.model_copy(update={name: getattr(file, name) for name in file.model_fields_set})

    @contextlib.contextmanager
    def _read_as(self, kind: str) -> Iterator[None]:
        """Name the file that is damaged, or another's."""
        try:
            yield
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise self._unreadable(kind, f"{where}: {first['msg']}" if where else first["msg"]) from error
        except LayerError:
            raise
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise self._unreadable(kind, str(error)) from error

    def _unreadable(self, kind: str, reason: str) -> Unreadable:
        return Unreadable(f"{self.path!r} cannot be read as {kind}: {reason}")

    def _load(self) -> Any:
        """What is stored; each kind has its own."""
        raise NotImplementedError

    def _names(self) -> dict[str, str]:
        return {
            "pickable_object_name": self.pickable_object_name,
            "user_id": self.user_id,
            "session_id": self.session_id,
        }


class TreePicks(_OfRun, CopickPicks):
    """Picks; see ``copick.models.CopickPicks``."""

    _word = "picks"

    @property
    def path(self) -> str:
        """See `Entity.path`."""
        return entitypaths.picks_path(self)

    def counterpart(self, root: Any) -> TreePicks:
        """The same picks in another root, whose points are read from there."""
        file = CopickPicksFile(**self._names())
        return root.classes.picks(self.run.counterpart(root), file)  # type: ignore[no-any-return]

    def store(self) -> None:
        """Store the points; readers see all of the old ones or all of the new ones.

        Points that were neither read nor set stay as they are.

        Raises:
            NotWritable: No layer is written that could have them; a ``PermissionError``.
        """
        self._require_writable()
        if not self.meta.points and "points" not in self.meta.model_fields_set:
            self.meta = self._with_what_is_stored(self.meta)
        self._store()
        self._changed()

    def delete(self) -> None:
        """Delete them."""
        self._delete_data()
        forget(self.run._picks, self)  # noqa: SLF001

    def _load(self) -> CopickPicksFile:
        with self._read_as("picks"):
            return CopickPicksFile.model_validate(json.loads(trees.read(self.tree, self.path)))

    def _store(self) -> None:
        self.tree.write(self.path, json.dumps(self.meta.model_dump(), indent=4).encode())


class TreeFilaments(_OfRun, CopickFilaments):
    """Traced filaments; see ``copick.models.CopickFilaments``."""

    _word = "filaments"

    @property
    def path(self) -> str:
        """See `Entity.path`."""
        return entitypaths.filaments_path(self)

    def counterpart(self, root: Any) -> TreeFilaments:
        """The same filaments in another root, which are read from there."""
        file = CopickFilamentsFile(**self._names())
        return root.classes.filaments(self.run.counterpart(root), file)  # type: ignore[no-any-return]

    def store(self) -> None:
        """Store them; readers see all of the old ones or all of the new ones.

        Those that were neither read nor set stay as they are.

        Raises:
            NotWritable: No layer is written that could have them; a ``PermissionError``.
        """
        self._require_writable()
        if not (self._loaded or self.meta.filaments):
            self.meta = self._with_what_is_stored(self.meta)
        super().store()
        self._changed()

    def _load(self) -> CopickFilamentsFile:
        with self._read_as("filaments"):
            return CopickFilamentsFile.model_validate(json.loads(trees.read(self.tree, self.path)))

    def _store(self) -> None:
        self.tree.write(self.path, json.dumps(self.meta.model_dump(), indent=4).encode())


class TreeMesh(_OfRun, CopickMesh):
    """A mesh; see ``copick.models.CopickMesh``."""

    _word = "mesh"

    @property
    def path(self) -> str:
        """See `Entity.path`."""
        return entitypaths.mesh_path(self)

    def counterpart(self, root: Any) -> TreeMesh:
        """The same mesh in another root, which is read from there."""
        meta = CopickMeshMeta(**self._names())
        return root.classes.mesh(self.run.counterpart(root), meta)  # type: ignore[no-any-return]

    def store(self) -> None:
        """Store the mesh; readers see all of the old one or all of the new one.

        Raises:
            NotWritable: No layer is written that could have it; a ``PermissionError``.
        """
        self._require_writable()
        if self._mesh is None:
            self.load()
        self._store()
        self._changed()

    def delete(self) -> None:
        """Delete it."""
        self._delete_data()
        forget(self.run._meshes, self)  # noqa: SLF001

    def _load(self) -> Any:
        import trimesh  # imports scipy

        data = trees.read(self.tree, self.path)
        with self._read_as("a mesh"):
            return trimesh.load(io.BytesIO(data), file_type="glb")

    def _store(self) -> None:
        data = io.BytesIO()
        self._mesh.export(data, file_type="glb")
        self.tree.write(self.path, data.getvalue())
