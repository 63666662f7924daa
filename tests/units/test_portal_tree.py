"""From the portal's records to names: what cannot be shown is left out and told, and every name is sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from copickfs.layers.sources import is_sound
from tests.portal import layers, oddities
from tests.portal.local import LocalPortal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copickfs.layers.portal.layer import PortalLayer
    from tests.portal.store import Row


@pytest.fixture(scope="module")
def portal() -> Iterator[LocalPortal]:
    """Records that nobody expects, each in a run of its own; there are no files."""
    with LocalPortal(runs=0) as made:
        yield made


class Odd:
    """A run for one oddity."""

    def __init__(self, portal: LocalPortal, name: str) -> None:
        self.records = portal.records
        self.run = portal.records.run(portal.dataset, name)
        self.spacing = portal.records.spacing(self.run, 10.0)

    @property
    def path(self) -> str:
        return f"ExperimentRuns/{self.run['id']}"

    @property
    def views(self) -> str:
        return f"Views/{self.run['id']}"


@pytest.fixture
def odd(portal: LocalPortal, request: pytest.FixtureRequest) -> Odd:
    return Odd(portal, request.node.name)


def shown(portal: LocalPortal, odd: Odd, **keys: Any) -> list[str]:
    """All paths below a run, and below its views, of a layer that has asked just now."""
    with layers.connected(portal, run_ids=[odd.run["id"]], **keys) as layer:
        return [
            path.removeprefix(top)
            for top in (odd.path, odd.views)
            for path in layers.walked(layer, top)
            if not path.endswith(".json") or "Picks" in path
        ]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelname == "WARNING"]


def one_warning(caplog: pytest.LogCaptureFixture, *parts: object) -> None:
    (message,) = warnings(caplog)
    for part in parts:
        assert str(part) in message, message


def test_types_that_are_one_are_told_apart_by_the_higher_ids(portal: LocalPortal, odd: Odd) -> None:
    first, second, third = oddities.same_types(odd.records, odd.run, odd.spacing)
    name = "/VoxelSpacing10.000/wbp-raw-aretomo3"
    assert [path for path in shown(portal, odd) if path.endswith(".zarr")] == [
        f"{name}-{second['id']}.zarr",
        f"{name}-{third['id']}.zarr",
        f"{name}.zarr",
    ]
    portal.records.remove("Tomogram", third["id"])
    assert f"{name}-{second['id']}.mrc" in shown(portal, odd)
    assert first["id"] < second["id"]


def test_a_tomogram_without_a_zarr_is_in_the_views_alone(
    portal: LocalPortal, odd: Odd, caplog: pytest.LogCaptureFixture
) -> None:
    row = oddities.tomogram_without_zarr(odd.records, odd.run, odd.spacing)
    assert shown(portal, odd) == [
        "/VoxelSpacing10.000", "/VoxelSpacing10.000", "/VoxelSpacing10.000/wbp-raw-ctfdeconv.mrc",
    ]  # fmt: skip
    one_warning(caplog, "layer portal: ", "a tomogram without an OME-Zarr (1,", row["id"], odd.run["id"])


def test_a_tomogram_without_files_and_one_without_a_spacing_are_left_out(
    portal: LocalPortal, odd: Odd, caplog: pytest.LogCaptureFixture
) -> None:
    none = oddities.tomogram_without_files(odd.records, odd.run, odd.spacing)
    lost = oddities.tomogram_without_spacing(odd.records, odd.run)
    assert shown(portal, odd) == ["/VoxelSpacing10.000"]
    no_spacing, no_zarr = warnings(caplog)
    assert f"without a voxel spacing (1, such as tomogram {lost['id']}" in no_spacing
    assert f"without an OME-Zarr (1, such as tomogram {none['id']}" in no_zarr


def test_what_is_null_is_told_by_what_is_left(portal: LocalPortal, odd: Odd) -> None:
    row = oddities.tomogram_of_nulls(odd.records, odd.run, odd.spacing)
    oddities.annotation_of_nulls(odd.records, odd.run, odd.spacing)
    dashes = oddities.tomogram_of_dashes(odd.records, odd.run, odd.spacing)
    paths = shown(portal, odd)
    assert len([path for path in paths if path.endswith(".zarr")]) == 2
    assert row["id"] < dashes["id"]


def test_unknown_shapes_and_formats_are_in_the_views(
    portal: LocalPortal, odd: Odd, caplog: pytest.LogCaptureFixture
) -> None:
    files = oddities.unknown_shapes(odd.records, odd.run, odd.spacing)
    files += oddities.unknown_formats(odd.records, odd.run, odd.spacing)
    paths = shown(portal, odd)
    ids = {path.split("/")[2].partition("-")[0] for path in paths if path.startswith("/Annotations/")}
    assert ids == {str(file["id"]) for file in files}
    assert not [path for path in paths if "Picks" in path or "Segmentations" in path]
    assert len(warnings(caplog)) == 4  # of 'Hologram', of none, of a star file and of a tif: one each


def test_picks_whose_spacing_or_shape_is_lost_are_left_out(
    portal: LocalPortal, odd: Odd, caplog: pytest.LogCaptureFixture
) -> None:
    file = oddities.file_without_spacing(odd.records, odd.run, odd.spacing)
    odd.records.change("Annotation", _annotation_of(odd, file)["id"], tomogramVoxelSpacingId=None)
    oddities.file_of_lost_shape(odd.records, odd.run, odd.spacing)
    assert shown(portal, odd) == ["/VoxelSpacing10.000"]
    one_warning(caplog, "without a voxel spacing", f"annotation file {file['id']}")


def _annotation_of(odd: Odd, file: Row) -> Row:
    shape = odd.records.row("AnnotationShape", file["annotationShapeId"])
    return odd.records.row("Annotation", shape["annotationId"])


def test_two_records_of_one_id_are_shown_once(
    portal: LocalPortal, odd: Odd, caplog: pytest.LogCaptureFixture
) -> None:
    first, _, picks, _ = oddities.same_ids(odd.records, odd.run, odd.spacing)
    paths = shown(portal, odd)
    assert len([path for path in paths if path.endswith(".zarr")]) == 1
    made = [path for path in paths if path.startswith("/Picks/") and "metadata" not in path]
    assert [path.removeprefix(f"/Picks/data-portal_{picks['id']}_") for path in made] == [
        f"{name}.{kind}" for kind in ("json", "ndjson") for name in ("cytosolic-ribosome", "ferritin-complex")
    ]
    one_warning(caplog, "a second record of one id", first["id"])


def test_strange_spacings_are_merged_or_left_out(
    portal: LocalPortal, odd: Odd, caplog: pytest.LogCaptureFixture
) -> None:
    rows = oddities.strange_spacings(odd.records, odd.run)
    for row in rows:
        odd.records.tomogram(odd.run, row, processing="raw", processingSoftware=None, ctfCorrected=False)
    paths = shown(portal, odd)
    assert {path.split("/")[1] for path in paths} == {
        "VoxelSpacing0.000", "VoxelSpacing10.000", "VoxelSpacing123456.789",
    }  # fmt: skip
    stores = [path for path in paths if path.endswith(".zarr") and path.startswith("/VoxelSpacing10.000/")]
    assert len(stores) == 3
    assert len(warnings(caplog)) == 2  # sizes that are none, and the tomograms there


def test_a_run_without_anything_is_an_empty_directory(portal: LocalPortal) -> None:
    run = oddities.empty_run(portal.records, portal.dataset)
    with layers.connected(portal, run_ids=[run["id"]]) as layer:
        assert layers.walked(layer, f"ExperimentRuns/{run['id']}") == []
        assert layers.names(layer, f"Views/{run['id']}") == ["portal.json"]


def hostile(portal: LocalPortal, dataset: Row, run: Row, spacing: Row) -> None:
    oddities.hostile_runs(portal.records, dataset)
    oddities.hostile_software(portal.records, run, spacing)
    oddities.hostile_objects(portal.records, run, spacing)


def links_of(layer: PortalLayer) -> dict[str, str]:
    return {name: layer.readlink(f"ByName/66600/{name}") for name in layers.names(layer, "ByName/66600")}


def test_hostile_names_make_sound_ones_which_stay(portal: LocalPortal) -> None:
    dataset = portal.records.dataset(66_600)
    run = portal.records.run(dataset, "others")
    spacing = portal.records.spacing(run)
    hostile(portal, dataset, run, spacing)
    with layers.connected(portal, dataset_ids=[66_600], objects={}) as layer:
        paths, links = layers.walked(layer), links_of(layer)
        for path in paths:
            assert all(is_sound(name) and name.isprintable() for name in path.split("/")), path
            assert all(len(name.encode()) <= 255 for name in path.split("/")), path
            layer.described(path), layer.known_of(path), layer.location(path)
    assert len(paths) == len(set(paths))
    assert sorted(links.values()) == sorted(f"../../{path}" for path in paths if is_run(path))
    inner = [path for path in paths if path.startswith(f"ExperimentRuns/{run['id']}/")]
    assert len([path for path in inner if "/Picks/" in path]) == len(oddities.HOSTILE_NAMES)
    assert len([path for path in inner if path.endswith(".zarr")]) == len(oddities.HOSTILE_NAMES)
    hostile(portal, dataset, run, spacing)  # all of them once more, with higher ids
    with layers.connected(portal, dataset_ids=[66_600], objects={}) as layer:
        assert set(paths) < set(layers.walked(layer))
        assert links.items() < links_of(layer).items()


def is_run(path: str) -> bool:
    return path.startswith("ExperimentRuns/") and path.count("/") == 1
