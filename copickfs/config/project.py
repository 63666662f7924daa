"""copick's own part of a configuration, without importing copick.

The twins of ``copick.models.CopickConfig`` and ``PickableObject`` accept what copick accepts of them, so that
what they give out is a valid copick configuration. A test compares fields, defaults and verdicts.
"""

from __future__ import annotations

import difflib
import itertools
import re
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from copickfs.config.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copickfs.config.source import Location

_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1F\x7F\s_]')
"""The characters that ``copick.util.escape.sanitize_name`` replaces."""

_NAMES_COMPARED = 200
_NAMES_SHOWN = 20


def fault(location: Location, message: str, value: object = None) -> ValidationError:
    """A validation error at ``location``; ``value`` may be shown and must not be a secret."""
    kind = PydanticCustomError("configuration", "{text}", {"text": message})
    return ValidationError.from_exception_data(
        "configuration", [InitErrorDetails(type=kind, loc=location, input=value)], hide_input=True
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy for a name that is not known: the most similar known one, or the first of them."""
    names = list(itertools.islice(known, _NAMES_COMPARED))
    by_letters = {known_name.casefold(): known_name for known_name in names}
    close = difflib.get_close_matches(name[:100].casefold(), by_letters, n=1)
    if close:
        return f"did you mean {by_letters[close[0]]!r}?"
    return f"known are {', '.join(names[:_NAMES_SHOWN])}"


def _copick_name(name: str | None) -> str | None:
    """``name`` if copick can put it into a file name; ``ValueError`` with a remedy if not."""
    if name is None:
        return None
    clean = _NOT_IN_NAMES.sub("-", name).strip("-")
    if name == clean and name:
        return name
    remedy = f"; write {clean!r}" if clean else ""
    raise ValueError(
        f"copick allows no white space, '_' or any of <>:\"/\\|?* here, nor '-' at the ends{remedy}"
    )


class Model(BaseModel):
    """What every part of a configuration shares: no unknown keys, no secrets in any text."""

    model_config = ConfigDict(
        extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, defer_build=True
    )

    quiet_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that are neither shown nor suggested unless they are set."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        renamed = any(field.alias or field.validation_alias for field in cls.model_fields.values())
        if not isinstance(data, dict) or renamed or cls.model_config.get("extra") != "forbid":
            return data
        for key in data:
            if key not in cls.model_fields:
                names = [name for name in cls.model_fields if name not in cls.quiet_fields]
                known = sorted(names, key=lambda name: name not in cls.__annotations__)
                raise fault((str(key),), f"unknown key; {nearest(str(key), known)}")
        return data

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        yield from redacted(self).items()


class FilamentConfig(BaseModel):
    """``metadata.copick.filament`` of an object that is a filament, as copick checks it."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, hide_input_in_errors=True)

    polar: bool | None = None
    helical_rise_a: float | None = Field(None, gt=0)
    helical_twist_deg: float | None = None


class ObjectConfig(Model):
    """One entry of ``pickable_objects``; keys that copick does not know are kept."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(description="Name of the object.", examples=["ribosome"])
    is_particle: bool = Field(
        description="True for points, false for a surface or mask without points.", examples=[True]
    )
    label: int | None = Field(1, description="Value in multilabel segmentations; not 0.", examples=[1])
    color: tuple[int, int, int, int] = Field(
        (100, 100, 100, 255),
        description="Red, green, blue, alpha; 0 to 255 each.",
        examples=[[0, 117, 220, 255]],
    )
    emdb_id: str | None = Field(None, description="EMDB entry of its density map.", examples=["EMD-3883"])
    pdb_id: str | None = Field(None, description="PDB entry.", examples=["7P6Z"])
    identifier: str | None = Field(
        None, description="Ontology term; `go_id` is the same key.", examples=["GO:0022626"]
    )
    map_threshold: float | None = Field(None, description="Contour level of the map.", examples=[0.05])
    radius: float | None = Field(None, description="Radius in angstrom.", examples=[150])
    metadata: dict[str, Any] = Field(
        default_factory=dict,
        description="Anything; `copick` in it is copick's.",
        examples=[{"source": "lab"}],
    )

    _check_name = field_validator("name")(_copick_name)

    @property
    def is_filament(self) -> bool:
        """True for an object that is declared a filament, as copick has it."""
        own = self.metadata.get("copick")
        return isinstance(own, dict) and own.get("filament") is not None

    @model_validator(mode="before")
    @classmethod
    def _accept_older_forms(cls, data: Any) -> Any:
        """``go_id`` is the former name of ``identifier``, and wins, as in copick; no metadata is none."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if "go_id" in data:
            data["identifier"] = data.pop("go_id")
        if data.get("metadata", ...) is None:
            del data["metadata"]
        return data

    @model_validator(mode="after")
    def _check_values(self) -> ObjectConfig:
        if self.label == 0:
            raise fault(("label",), "0 is the background; use another number", self.label)
        if not all(0 <= component <= 255 for component in self.color):  # noqa: PLR2004 -- 8 bits a channel
            raise fault(("color",), "each of the four numbers must be 0 to 255")
        self._check_filament()
        return self

    def _check_filament(self) -> None:
        own = self.metadata.get("copick")
        if not isinstance(own, dict) or own.get("filament") is None:
            return
        location = ("metadata", "copick", "filament")
        try:
            FilamentConfig.model_validate(own["filament"])
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise fault((*location, *first["loc"]), first["msg"]) from None
        if not self.is_particle:
            raise fault(location, "a filament is annotated with points; set is_particle to true")


class ProjectConfig(Model):
    """The keys that every copick configuration has; twin of ``copick.models.CopickConfig``."""

    name: str | None = Field("CoPick", description="Name of the project.", examples=["HeLa lamellae"])
    description: str | None = Field("Let's CoPick!", description="What it is.", examples=["August session"])
    version: str | None = Field("0.2.0", description="copick's configuration version.", examples=["1.31.0"])
    pickable_objects: list[ObjectConfig] = Field(
        default_factory=list,
        description="The objects; see below. May be absent.",
        examples=[[{"name": "ribosome", "is_particle": True}]],
    )
    user_id: str | None = Field(None, description="User of new picks.", examples=["alice"])
    session_id: str | None = Field(None, description="Session of new picks.", examples=["1"])
    runs: list[str] | None = Field(None, description="copick's index of runs.", examples=[["TS_026"]])
    voxel_spacings: list[float] | None = Field(
        None, description="copick's index of voxel spacings, in angstrom.", examples=[[10.012]]
    )
    tomograms: dict[float, list[str]] | None = Field(
        default_factory=dict,
        description="copick's index of tomogram types by voxel spacing.",
        examples=[{"10.012": ["wbp"]}],
    )

    _check_names = field_validator("user_id", "session_id")(_copick_name)

    def project(self) -> dict[str, Any]:
        """JSON-able values of copick's own keys: what a copick configuration of the mount starts from."""
        return self.model_dump(mode="json", include=set(ProjectConfig.model_fields))
