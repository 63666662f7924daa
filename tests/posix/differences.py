"""What a mount does otherwise than a local disk: every difference that is known, with its reason.

The key is a test of this directory, ``file::test`` without the ``test_`` of both, with its parameters in
brackets if it has any besides the place. The list is exact: the test of a listed difference must fail
on the mount, and a test that is not listed must succeed.
"""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """A difference, and in which variants it is one."""

    reason: str
    variants: tuple[str, ...] = ("mount", "mount-user", "lower", "lower-user")


_AS_ROOT = ("mount", "lower")
_LOWER = ("lower", "lower-user")
_NOT_RENAMED = "EXDEV, as in overlayfs: a directory that a lower layer has is not renamed; mv copies it"

DIFFERENCES = {
    "rename_directories::of_the_layer_below": Difference(_NOT_RENAMED, _LOWER),
    "rename_directories::empty_one_of_the_layer_below": Difference(_NOT_RENAMED, _LOWER),
    "rename_directories::exchange_with_one_of_the_layer_below": Difference(_NOT_RENAMED, _LOWER),
    "chmod::what_nobody_may_read_is_not_read": Difference(
        "a lower file that the daemon's user may not read cannot be copied up: EACCES", ("lower-user",)
    ),
    "mknod::device": Difference("EPERM: no devices are made, and the mount is nodev", _AS_ROOT),
    "names::deeper_than_a_path_can_be": Difference(
        "ENAMETOOLONG: layers are asked by path, of 4,095 bytes at most"
    ),
    "utimens::access_time_of_a_link": Difference(
        "reading the text of a link sets its access time in the layer"
    ),
    "xattr::trusted_attributes_are_for_root": Difference(
        "EOPNOTSUPP: only user attributes are passed on", _AS_ROOT
    ),
    "xattr::access_control_list": Difference("EOPNOTSUPP: access control lists are not passed on"),
}
