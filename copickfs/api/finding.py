"""From what the index knows of entities to the objects of a root (specification, 7.2 and 7.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copick.models import (
    CopickFeaturesMeta,
    CopickFilamentsFile,
    CopickMeshMeta,
    CopickPicksFile,
    CopickRunMeta,
    CopickTomogramMeta,
    CopickVoxelSpacingMeta,
    PickableObject,
)

from copickfs.api.run import segmentation_meta
from copickfs.entities import EntityType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copickfs.entities import EntityRecord, Identity

_COPICK_WORDS = {
    "user_id": "user",
    "session_id": "session",
    "object_name": "object",
    "pickable_object_name": "object",
    "object_types": "type",
    "tomo_type": "name",
    "feature_type": "name",
}
_TYPE_OF_WORD = {"tomo_type": "tomograms", "feature_type": "features"}


def criteria_in_words(criteria: Mapping[str, Any]) -> dict[str, Any]:
    """Criteria as `copickfs.indexing.Catalog.find_objects` takes them, also by copick's names."""
    words: dict[str, Any] = {}
    for key, value in criteria.items():
        if value is None:
            continue
        words[_COPICK_WORDS.get(key, key)] = value
        if key in _TYPE_OF_WORD:
            words.setdefault("type", _TYPE_OF_WORD[key])
    return words


def objects_of(root: Any, answer: Mapping[str, list[EntityRecord]]) -> dict[str, list[Any]]:
    """The objects of ``root`` that records tell of, in their order."""
    return {
        kind: [object_of(root, record.identity) for record in records] for kind, records in answer.items()
    }


def object_of(root: Any, identity: Identity) -> Any:
    """The object of ``root`` that an identity names; nothing is looked at."""
    return _MAKERS[identity.type](root, identity)


def _run(root: Any, identity: Identity) -> Any:
    return root.classes.run(root, CopickRunMeta(name=identity.run))


def _spacing(root: Any, identity: Identity) -> Any:
    return root.classes.voxel_spacing(
        _run(root, identity), CopickVoxelSpacingMeta(voxel_size=identity.voxel_size)
    )


def _tomogram(root: Any, identity: Identity) -> Any:
    return root.classes.tomogram(_spacing(root, identity), CopickTomogramMeta(tomo_type=identity.name))


def _features(root: Any, identity: Identity) -> Any:
    tomogram = root.classes.tomogram(_spacing(root, identity), CopickTomogramMeta(tomo_type=identity.object))
    meta = CopickFeaturesMeta(tomo_type=identity.object, feature_type=identity.name)
    return root.classes.features(tomogram, meta)


def _segmentation(root: Any, identity: Identity) -> Any:
    return root.classes.segmentation(_run(root, identity), segmentation_meta(identity))


def _object(root: Any, identity: Identity) -> Any:
    """An object of the configuration, or one of which there is only a density map."""
    known = root.get_object(identity.name)
    if known is not None:
        return known
    meta = PickableObject(name="map", is_particle=True)
    meta.name = identity.name  # afterwards, for it may be one that copick would not give
    return root.classes.object(root, meta)


def _names(identity: Identity) -> dict[str, str]:
    return {
        "user_id": identity.user,
        "session_id": identity.session,
        "pickable_object_name": identity.object,
    }


_MAKERS: dict[EntityType, Callable[[Any, Identity], Any]] = {
    EntityType.OBJECT: _object,
    EntityType.RUN: _run,
    EntityType.VOXEL_SPACING: _spacing,
    EntityType.TOMOGRAM: _tomogram,
    EntityType.FEATURE: _features,
    EntityType.SEGMENTATION: _segmentation,
    EntityType.MESH: lambda root, i: root.classes.mesh(_run(root, i), CopickMeshMeta(**_names(i))),
    EntityType.FILAMENT: lambda root, i: root.classes.filaments(
        _run(root, i), CopickFilamentsFile(**_names(i))
    ),
    EntityType.PICKS: lambda root, i: root.classes.picks(_run(root, i), CopickPicksFile(**_names(i))),
}
