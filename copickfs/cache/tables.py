"""The tables of the cache's database, column by column."""

from copickfs.index.tables import Tables

TABLES = Tables(
    application_id=0x636F7063,  # "copc"
    version=1,
    statements="""
-- An object of which something is on the disk, in the only version that is.
CREATE TABLE object (
    id INTEGER PRIMARY KEY AUTOINCREMENT,     -- another one for each version, never used again
    source TEXT NOT NULL,                     -- the place that it is at
    path TEXT NOT NULL,                       -- its path there; a BLOB where it is not UTF-8
    version TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    UNIQUE (source, path)
);

-- A file of the cache.
CREATE TABLE piece (
    object INTEGER NOT NULL REFERENCES object (id),
    start INTEGER NOT NULL,                   -- its first byte in the object
    size_bytes INTEGER NOT NULL,
    charge_bytes INTEGER NOT NULL,            -- what it takes on the disk
    digest INTEGER NOT NULL,                  -- xxh3 of its contents, as a signed number
    used_ns INTEGER NOT NULL,                 -- when it was read last, ns since the epoch
    is_pinned INTEGER NOT NULL,               -- 1: never removed to make room
    owner TEXT NOT NULL,                      -- the process that is writing it, or with '!' removing it;
                                              -- '' once it is there
    PRIMARY KEY (object, start)
) WITHOUT ROWID;
CREATE INDEX piece_by_use ON piece (used_ns) WHERE is_pinned = 0 AND owner = '';
CREATE INDEX piece_by_owner ON piece (owner) WHERE owner <> '';

-- The sums of all `charge_bytes`, and of those of what is pinned.
CREATE TABLE used (charge_bytes INTEGER NOT NULL, pinned_bytes INTEGER NOT NULL);
INSERT INTO used VALUES (0, 0);
CREATE TRIGGER piece_added AFTER INSERT ON piece BEGIN
    UPDATE used SET charge_bytes = charge_bytes + new.charge_bytes,
                    pinned_bytes = pinned_bytes + new.charge_bytes * new.is_pinned;
END;
CREATE TRIGGER piece_removed AFTER DELETE ON piece BEGIN
    UPDATE used SET charge_bytes = charge_bytes - old.charge_bytes,
                    pinned_bytes = pinned_bytes - old.charge_bytes * old.is_pinned;
END;
CREATE TRIGGER piece_pinned AFTER UPDATE OF is_pinned ON piece BEGIN
    UPDATE used SET pinned_bytes = pinned_bytes + old.charge_bytes * (new.is_pinned - old.is_pinned);
END;

-- What stays, with all below it.
CREATE TABLE pin (
    source TEXT NOT NULL,
    path TEXT NOT NULL,                       -- '': the whole source
    PRIMARY KEY (source, path)
) WITHOUT ROWID
""",
)
