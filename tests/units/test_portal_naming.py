"""Names of what a portal has: copick's where copick's are safe, and safe wherever they are not."""

from __future__ import annotations

import itertools
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from copickfs.entities import EntityType, identify
from copickfs.layers.portal.naming import (
    NAME_BYTES,
    SEGMENTATION_DIRECTORIES,
    camel,
    object_name,
    picks_name,
    safe_name,
    segmentation_name,
    told_apart,
    tomogram_type,
)

HOSTILE = [
    "", " ", ".", "..", "../../etc/passwd", "a/b", "/", "\0", "a\nb", "\u202egnp.exe", "a\u200bb", "\ufeff",
    "\ud800", "\udcff", "é" * 300, "_", "--", "a_b_c", ".copickfs", "x.zarr", "X.ZARR", "a.json", "a.GLB b",
    "features", "foo multilabel", "İ" * 199, "a\u2028b", "nbsp\xa0", "-rf", "*?[a]", "naïve/日本語", ". .",
]  # fmt: skip
texts = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(), max_size=300))
odd = st.one_of(st.none(), texts, st.integers(), st.floats(), st.booleans(), st.lists(texts, max_size=2))


def is_component(name: str) -> bool:
    """One component of a path that is shown as it is, with room for a suffix."""
    return (
        not {unicodedata.category(char) for char in name} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
        and 0 < len(name.encode()) <= NAME_BYTES + 1
        and not name.startswith(".")
        and "/" not in name
    )


@settings(deadline=None)  # copick is imported
@given(texts)
def test_words_are_joined_as_by_copick(text: str) -> None:
    from copick.impl.cryoet_data_portal import camel as of_copick

    try:
        expected = of_copick(text)
    except IndexError:  # no words
        expected = ""
    assert camel(text) == expected


def test_types_of_tomograms_are_those_of_copick() -> None:
    from copick.impl.cryoet_data_portal import CopickTomogramMetaCDP, PortalObject

    tools = [None, "", "tomo3D", "cryoCARE", "Topaz-Denoise 0.2.4", "IsoNet, e2tvrecon"]
    for method, processing, tool, ctf_corrected in itertools.product(
        ["WBP", "SART", "Fourier_Space", "SIRT", "Unknown"],
        ["raw", "denoised", "filtered", "filtered_even", "filtered_odd"],
        tools,
        [None, False, True],
    ):
        record = {
            "id": 1, "reconstruction_method": method, "processing": processing, "processing_software": tool,
            "ctf_corrected": ctf_corrected, "s3_omezarr_dir": "s3://b/t.zarr",
        }  # fmt: skip
        expected = CopickTomogramMetaCDP.from_portal(PortalObject(record), author_names=[]).tomo_type
        assert tomogram_type(record) == expected


@pytest.mark.parametrize(
    ("software", "expected"),
    [
        ("a/b", "wbp-raw-a-B"),
        ("../x", "wbp-raw-..-X"),
        ("features", "wbp-raw-Features"),
        ("tab\there", "wbp-raw-tab-Here"),
        ("\u202etxt", "wbp-raw--Txt"),
        ("___", "wbp-raw"),
        (7, "wbp-raw"),
        (None, "wbp-raw"),
    ],
)
def test_types_of_tomograms_that_copick_could_not_write(software: Any, expected: str) -> None:
    record = {"reconstruction_method": "WBP", "processing": "raw", "processing_software": software}
    assert tomogram_type(record) == expected


def test_what_is_not_told_is_unknown() -> None:
    assert tomogram_type({}) == "unknown-unknown"
    record = {"reconstruction_method": None, "processing": "raw", "ctf_corrected": True}
    assert tomogram_type(record) == "unknown-raw-ctfdeconv"
    assert tomogram_type({"reconstruction_method": ".", "processing": "."}) == "unknown"


@given(odd, odd, odd, odd)
def test_any_type_of_tomogram_is_found_again_by_its_store(
    method: Any, processing: Any, software: Any, ctf_corrected: Any
) -> None:
    name = tomogram_type(
        {
            "reconstruction_method": method, "processing": processing, "processing_software": software,
            "ctf_corrected": ctf_corrected,
        }
    )  # fmt: skip
    assert is_component(name)
    found = identify(f"ExperimentRuns/1/VoxelSpacing10.000/{name}.zarr", is_dir=True)
    assert found is not None
    assert (found.type, found.name) == (EntityType.TOMOGRAM, name)
    features = identify(f"ExperimentRuns/1/VoxelSpacing10.000/{name}_sobel_features.zarr", is_dir=True)
    assert features is not None
    assert (features.type, features.object, features.name) == (EntityType.FEATURE, name, "sobel")


@settings(deadline=None)
@given(odd, odd)
def test_any_object_is_found_again_by_its_picks_and_masks(portal_name: Any, object_id: Any) -> None:
    from copick.util.escape import sanitize_name
    from copick.util.segmentation import parse_segmentation_store_name, segmentation_store_name

    name = object_name(portal_name, object_id)
    assert is_component(name)
    assert sanitize_name(name) == name  # or copick would refuse the object

    picks = picks_name(17, name)
    assert picks == f"data-portal_17_{name}.json"
    found = identify(f"ExperimentRuns/1/Picks/{picks}", is_dir=False)
    assert found is not None
    assert (found.user, found.session, found.object) == ("data-portal", "17", name)

    for shape, directory in SEGMENTATION_DIRECTORIES.items():
        store = segmentation_name(13.48, 17, name)
        instance = shape == "InstanceSegmentationMask"
        assert store == segmentation_store_name(13.48, "data-portal", "17", name, is_instance=instance)
        assert parse_segmentation_store_name(store, directory) == {
            "voxel_size": 13.48, "user_id": "data-portal", "session_id": "17", "name": name,
            "is_multilabel": False, "is_instance": instance, "is_panoptic": False,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("portal_name", "object_id", "expected"),
    [
        ("cytosolic ribosome", "GO:0022626", "cytosolic-ribosome"),
        ("Beta-Galactosidase", "UniProtKB:P00722", "beta-galactosidase"),
        ("Kv1.3", "x", "kv1.3"),
        (None, "GO:0022626", "go-0022626"),
        ("///", "GO:0022626", "go-0022626"),
        ("", None, "object"),
        ("membrane multilabel", "x", "membrane-multi-label"),
        ("A.JSON", "x", "a-json"),
    ],
)
def test_names_of_objects(portal_name: str | None, object_id: str | None, expected: str) -> None:
    assert object_name(portal_name, object_id) == expected


@settings(deadline=None)
@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=45))
def test_objects_that_are_safe_are_called_as_by_copick(portal_name: str) -> None:
    from copick.util.escape import sanitize_name

    try:
        expected = sanitize_name(portal_name, suppress_warnings=True).lower()
    except ValueError:
        return
    if expected.startswith(".") or ".json" in expected or len(expected.encode()) > NAME_BYTES:
        return
    assert object_name(portal_name, "GO:1") == expected


@given(odd)
@example("TS 026 (β-tilt)")
def test_any_name_is_one_component(text: Any) -> None:
    name = safe_name(text, "17")
    assert is_component(name)
    if isinstance(text, str) and is_component(text) and text.strip(" -") and len(text.encode()) <= NAME_BYTES:
        assert name == text


def test_what_is_kept_of_a_name() -> None:
    assert safe_name("TS 026 (β-tilt)", "17") == "TS 026 (β-tilt)"
    assert safe_name("../x", "17") == "-x"
    assert safe_name("a\0b\nc/d", "17") == "a-b-c-d"
    assert safe_name("日" * 100, "17") == "日" * 66
    assert [safe_name(text, "17") for text in ("..", "", " ", "\u202e", None, 3)] == ["17"] * 6


@given(st.dictionaries(st.integers(0, 40), st.sampled_from(["a", "b", "a-2", "a-2-3", "b-4"])))
def test_names_that_are_told_apart(names: dict[int, str]) -> None:
    told = told_apart(names)
    assert list(told) == sorted(names)
    assert len(set(told.values())) == len(names)
    for number, name in names.items():
        assert told[number] == name or told[number].startswith(f"{name}-{number}")
        earlier = {other: text for other, text in names.items() if other <= number}
        assert told_apart(earlier)[number] == told[number]  # whatever is added later


def test_the_lowest_number_keeps_the_name() -> None:
    assert told_apart({9: "wbp", 3: "wbp", 5: "sirt", 7: "WBP"}) == {
        3: "wbp",
        5: "sirt",
        7: "WBP",
        9: "wbp-9",
    }
    assert told_apart({1: "a", 2: "a", 3: "a-2"}) == {1: "a", 2: "a-2", 3: "a-2-3"}
