"""copick's own view of the portal, pointed at a local one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from tests.portal.records import OBJECTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copick.impl.cryoet_data_portal import CopickRootCDP

    from tests.portal.local import LocalPortal

PICKABLE = [
    {
        "name": of.object_name.replace(" ", "-"),
        "identifier": of.object_id,
        "is_particle": of.object_name != "membrane",
        "label": label,
    }
    for label, of in enumerate(OBJECTS, 1)
]


def configuration(overlay: Path, *dataset_ids: int, **options: Any) -> dict[str, Any]:
    """A configuration of copick for datasets of the portal; its own cache, which knows no address, is off."""
    return {
        "config_type": "cryoet_data_portal",
        "pickable_objects": PICKABLE,
        "overlay_root": f"local://{overlay}",
        "overlay_fs_args": {"auto_mkdir": True},
        "dataset_ids": list(dataset_ids),
        "portal_cache": False,
        **options,
    }


@contextlib.contextmanager
def pointed_at(url: str, endpoint_url: str) -> Iterator[None]:
    """Let clients made in this process without an address, and S3 file systems, use a local portal.

    fsspec's configuration is part of what tells its cached instances apart: none is another portal's.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cryoet_data_portal._client.DEFAULT_URL", url)
        patch.setitem(fsspec.config.conf, "s3", {"endpoint_url": endpoint_url})
        yield


@contextlib.contextmanager
def copick_root(
    portal: LocalPortal, overlay: Path, *dataset_ids: int, **options: Any
) -> Iterator[CopickRootCDP]:
    """copick's root of some datasets, of the portal's own one if none are named."""
    from copick.impl.cryoet_data_portal import CopickConfigCDP, CopickRootCDP

    with pointed_at(portal.url, portal.fs_args["endpoint_url"]):
        ids = dataset_ids or (portal.dataset["id"],)
        yield CopickRootCDP(CopickConfigCDP(**configuration(overlay, *ids, **options)))
