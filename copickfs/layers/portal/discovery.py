"""What is asked of a portal for a configuration, and what its datasets are of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copickfs.index.portal import PortalTable
from copickfs.layers.portal.asking import PUBLIC_URL, PortalClient
from copickfs.layers.portal.catalogue import PortalCatalogue
from copickfs.layers.portal.fetching import Question
from copickfs.layers.portal.objects import pickable_objects
from copickfs.layers.sources.redaction import shown_url

if TYPE_CHECKING:
    from copickfs.index import Database


def portal_url(config: Any) -> str:
    """Where the portal of a `PortalConfig` is asked."""
    return config.graphql_url or PUBLIC_URL


def questions_of(config: Any) -> list[Question]:
    """What has to be asked of the portal for a `PortalConfig`: each dataset, or the runs that are named."""
    if config.run_ids:
        return [Question((), tuple(sorted(set(config.run_ids))))]
    return [Question((dataset,)) for dataset in dict.fromkeys(config.dataset_ids)]


def catalogue_of(config: Any, database: Database | None, *, offline: bool = False) -> PortalCatalogue:
    """The catalogue of a `PortalConfig`; nothing is asked yet.

    Args:
        config: The layer's configuration.
        database: The index, where it is kept; None for nowhere.
        offline: Never ask.
    """
    url = portal_url(config)
    table = None if database is None else PortalTable(database, shown_url(url))
    client = PortalClient(url, config.timeout)
    return PortalCatalogue(
        config.layer_name, client, questions_of(config), table, config.ttl, offline=offline
    )


def objects_of(config: Any, catalogue: PortalCatalogue) -> list[dict[str, Any]]:
    """Entries of ``pickable_objects`` for a `PortalConfig`: the objects that are annotated in its datasets.

    Raises:
        Unavailable: The portal has told nothing yet.
    """
    wanted = set(config.object_identifiers)
    return pickable_objects(
        each
        for told in catalogue.answers()
        for each in told.about["objects"]
        if not wanted or each["object_id"] in wanted
    )
