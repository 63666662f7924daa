"""``views`` in a configuration: which files are made of others, and what that may take."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from copickfs.config.kinds import renderer_points
from copickfs.config.project import Model, nearest

_GIB = 1024**3
_MOST = 2**63 - 1


class ViewsConfig(Model):
    """The files under ``Views/``; ``true``, ``false`` and a list of formats are short for it."""

    formats: list[str] | None = Field(
        None,
        description="The formats to show; all that are installed if absent, none if empty.",
        examples=[["mrc", "star"]],
    )
    memory_bytes: int = Field(
        256 * 1024**2,
        strict=True,
        ge=16 * 1024**2,
        le=_MOST,
        description="Most that decoded voxels take in memory, in bytes.",
        examples=[1073741824],
    )
    spill_bytes: int = Field(
        8 * _GIB,
        strict=True,
        ge=0,
        le=_MOST,
        description="Most that decoded voxels take on disk, where a layer of chunks exceeds the memory.",
        examples=[0],
    )

    @model_validator(mode="before")
    @classmethod
    def _in_short(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return {} if value else {"formats": []}
        return {"formats": value} if isinstance(value, list) else value

    @field_validator("formats")
    @classmethod
    def _formats_are_installed(cls, value: list[str] | None) -> list[str] | None:
        if not value:
            return value
        known = renderer_points()
        for name in value:
            if name not in known:
                raise ValueError(f"no renderer {name!r} is installed; {nearest(name, known)}")
        return value

    @property
    def is_on(self) -> bool:
        """True if anything is shown."""
        return self.formats is None or bool(self.formats)
