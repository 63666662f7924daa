"""A cache directory that is in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copickfs.cache.files import Files
from copickfs.cache.ledger import Ledger
from copickfs.cache.place import Place
from copickfs.cache.room import Room
from copickfs.index.database import Database

if TYPE_CHECKING:
    from pathlib import Path

BUSY_S = 2.0
"""How long a change waits for other processes."""


class Opened:
    """A directory in use: let go of by the last of its users once it is `left`.

    Args:
        place: The directory.
        room: How much it may hold.

    Attributes:
        place: As given.
        room: As given.
        database: Its database.
        files: Its files.
        ledger: What comes and goes.
        users: Calls that are using it.
        left: Nobody may begin to.
    """

    def __init__(self, place: Place, room: Room) -> None:
        self.place = place
        self.room = room
        self.database = Database(place.database_file, busy_s=BUSY_S, pragmas=room.pragmas)
        self.files = Files(place.root, place.temporary)
        self.ledger = Ledger(self.database, self.files, place.owner)
        self.users = 0
        self.left = False

    def let_go(self) -> None:
        """Close the database, which nobody may be reading."""
        self.database.close()
        self.place.leave()


def open_directory(root: Path, limit_bytes: int, floor_bytes: int) -> Opened:
    """Begin to use a directory; what killed processes had booked there is given back.

    Raises:
        CacheUnavailable: It cannot be used just now.
    """
    place = Place(root)
    room = Room(root, place.database_file, limit_bytes, floor_bytes)
    with place.entering():
        opened = Opened(place, room)
        try:
            give_back(opened)
        except BaseException:
            opened.database.close()
            if not opened.database.is_damaged:
                raise
            place.make_anew("damaged")
            opened = Opened(place, room)
    return opened


def give_back(opened: Opened) -> None:
    """Give back what processes had booked that have ended."""
    for owner in opened.ledger.owners():
        if not opened.place.is_alive(opened.ledger.process_of(owner)):
            opened.ledger.abandon_all(owner)
