"""Datasets of a portal as a layer of the API, and what the portal tells of them (specification, 2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import copickfs
from copickfs.api import PortalFeatures
from copickfs.errors import NotFound
from tests.portal.local import DATASET, LocalPortal

if TYPE_CHECKING:
    from tests.projects import Project


def test_datasets_runs_and_annotations(project: Project) -> None:
    with LocalPortal(runs=2, written=1) as portal:
        layer = {
            "config_type": "cryoet_data_portal", "dataset_ids": [DATASET], "graphql_url": portal.url,
            "fs_args": portal.fs_args, "priority": 5,
        }  # fmt: skip
        project.configure(more_layers={"portal": layer}, pickable_objects=...)
        root = copickfs.from_file(project.file)
        told = root.layer_specific("portal")
        assert isinstance(told, PortalFeatures)
        (dataset,) = told.datasets()
        assert dataset["id"] == DATASET
        runs = told.runs()
        assert [run.number for run in runs] == [each["id"] for each in portal.runs]
        assert told.runs(DATASET, runs[0].name) == [runs[0]]
        assert told.runs(1) == []
        run = root.get_run(str(runs[0].number))
        assert list(run.source_runs) == ["portal"]
        assert told.record(run)["id"] == runs[0].number
        assert told.record(runs[0]) == told.record(runs[0].number)
        assert {each["reconstruction_method"] for each in told.tomograms(run)}
        names = {each["object_name"] for each in told.annotations(run)}
        assert told.annotations(run, min(names))
        assert told.described(run)["portal.run_name"] == runs[0].name
        assert [each.name for each in root.pickable_objects] == [each["name"] for each in told.objects()]
        picks = run.picks[0]
        assert picks.user_id == "data-portal"
        assert len(picks.points) > 0
        picks.store()  # a copy of one's own
        assert list(picks.source_picks) == ["mine", "portal"]
        tomogram = run.voxel_spacings[0].tomograms[0]
        assert tomogram.numpy().shape == tomogram.get_shape()
        with pytest.raises(NotFound):
            told.record("404")
        told.refresh()
        root.close()
