"""The demo project: small, real copick data in two overlapping layers."""

from __future__ import annotations

from copickfs.demo.project import write_demo

__all__ = ["write_demo"]
