"""Configuration: reading, checking and showing what a mount is made of.

`load`, `parse` and `from_string` give a `MultilayerConfig` or raise `ConfigError`, nothing else.
Nothing here imports copick, whose import takes most of a second; the specification's public classes,
which derive from copick's, live in `copickfs.config.models` and are imported on first use.
"""

from __future__ import annotations

from copickfs.config.datasets import absolute_name
from copickfs.config.kinds import find_kind, known_kinds
from copickfs.config.loading import from_string, load, parse
from copickfs.config.redaction import redact_url, redacted
from copickfs.config.schema import (
    CacheConfig,
    ExtensionConfig,
    FSConfig,
    LayerConfig,
    MultilayerConfig,
    PortalConfig,
    SQLiteDBConfig,
)
from copickfs.config.source import Place

__all__ = [
    "CacheConfig",
    "ExtensionConfig",
    "FSConfig",
    "LayerConfig",
    "MultilayerConfig",
    "Place",
    "PortalConfig",
    "SQLiteDBConfig",
    "absolute_name",
    "find_kind",
    "from_string",
    "known_kinds",
    "load",
    "parse",
    "redact_url",
    "redacted",
]
