"""What is in a directory of several layers when one of them has it no more: nobody tells of the names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.mounted.conftest import put
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from tests.mounted.conftest import Stack


def test_what_is_in_a_lower_directory_goes_with_it(stack: Stack) -> None:
    for name in ("moved", "hidden", "deep"):
        put(stack.low / name / "dir/file")
    for name in ("moved/dir", "hidden", "deep/dir"):
        (stack.top / name).mkdir(parents=True)
    point = stack.mount()
    files = [point / name / "dir/file" for name in ("moved", "hidden", "deep")]
    assert [file.read_bytes() for file in files] == [b"x"] * 3
    inside = os.open(point / "deep", os.O_PATH)
    with stack.changing():
        (stack.low / "moved/dir").rename(stack.low / "elsewhere")
        put(stack.middle / "hidden")  # a file ends the search
        (stack.low / "deep").rename(stack.low / "moved/deep")
    for file in files:
        wait_until(lambda file=file: not os.path.lexists(file), what=f"the end of {file}")
    assert (point / "moved/deep/dir/file").read_bytes() == b"x"
    assert os.readlink(f"/proc/self/fd/{inside}") == str(point / "deep"), "it is somebody's directory"
    os.close(inside)
    assert not stack.wrong()


def test_what_comes_with_a_lower_directory_is_there_although_it_was_absent(stack: Stack) -> None:
    put(stack.low / "elsewhere/a")
    (stack.top / "R").mkdir(parents=True)
    point = stack.mount()
    assert not os.path.lexists(point / "R/a")
    with stack.changing():
        (stack.low / "elsewhere").rename(stack.low / "R")
    wait_until(lambda: os.path.lexists(point / "R/a"), what="what the lower directory has")
    assert not stack.wrong()
