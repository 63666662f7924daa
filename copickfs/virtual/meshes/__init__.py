"""Views of meshes: STL, Wavefront OBJ and PLY of the glTF binaries that copick keeps.

copick writes and reads meshes by trimesh, whose import takes seconds and a hundred MiB; here is only what a
surface needs of glTF 2.0: ``container`` and ``gltf`` say where its numbers are, ``scene`` has them, and
``formats`` writes them.
The coordinates are those of the ``.glb`` with the transforms of its nodes, in angstrom as copick has them.
"""

from copickfs.virtual.meshes.container import drawn
from copickfs.virtual.meshes.formats import Obj, Ply, Stl

__all__ = ["Obj", "Ply", "Stl", "drawn"]
