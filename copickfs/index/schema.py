"""The tables of the index, column by column, and how older databases become new ones."""

from __future__ import annotations

VERSION = 3
"""``PRAGMA user_version`` of a database with these tables."""

APPLICATION_ID = 0x636F706B
"""``PRAGMA application_id``: "copk"."""

_FIRST = """
-- A stack of layers in its order: what one configuration merges into one tree.
CREATE TABLE stack (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,                 -- `copickfs.index.stack_key`
    scan INTEGER NOT NULL DEFAULT 0,          -- number of the indexing run under way, or of the last one
    is_scanning INTEGER NOT NULL DEFAULT 0,   -- that run has not ended; 2: it reads all again
    scanned_ns INTEGER NOT NULL DEFAULT 0,    -- when the last whole run ended, ns since the epoch; 0: never
    used_ns INTEGER NOT NULL DEFAULT 0        -- when it was opened last, to a day
);

-- A directory of a merged tree that holds entities.
CREATE TABLE directory (
    id INTEGER PRIMARY KEY,
    stack INTEGER NOT NULL REFERENCES stack (id),
    path TEXT NOT NULL,
    stamp TEXT NOT NULL,                      -- differs when its entities may have changed
    scan INTEGER NOT NULL,                    -- the last indexing run that has seen it
    UNIQUE (stack, path)
);

-- Each distinct name once: runs, users, sessions, objects, lists of layers, ...
CREATE TABLE name (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE                 -- a BLOB where it is not UTF-8 (so for every text here)
);
CREATE VIRTUAL TABLE name_parts USING fts5(text, content='name', content_rowid='id', tokenize='trigram');

-- An entity. Every answer is made from this table.
CREATE TABLE entity (
    id INTEGER PRIMARY KEY,                   -- (stack << 44) + (type << 40) + a number
    directory INTEGER NOT NULL REFERENCES directory (id),
    leaf TEXT NOT NULL,                       -- its name in the directory
    stack INTEGER NOT NULL,
    type INTEGER NOT NULL,                    -- `copickfs.entities.EntityType`
    run INTEGER NOT NULL REFERENCES name (id),
    name INTEGER NOT NULL REFERENCES name (id),
    user INTEGER NOT NULL REFERENCES name (id),
    session INTEGER NOT NULL REFERENCES name (id),
    object INTEGER NOT NULL REFERENCES name (id),
    voxel_size REAL,                          -- Angstrom
    segmentation_type TEXT NOT NULL,          -- '' for everything else
    layers INTEGER NOT NULL REFERENCES name (id), -- layer names, the deciding one first, with '/' between
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    version TEXT NOT NULL,                    -- differs when `detail` may have changed
    detail TEXT NOT NULL,                     -- a JSON object
    UNIQUE (directory, leaf)
);
CREATE INDEX entity_by_run ON entity (run, stack, type);
CREATE INDEX entity_by_object ON entity (object, user, session, stack);
CREATE INDEX entity_by_user ON entity (user, session, stack);
CREATE INDEX entity_by_session ON entity (session, stack);
CREATE INDEX entity_by_name ON entity (name, stack, type);
CREATE INDEX entity_by_voxel_size ON entity (voxel_size, stack, type) WHERE voxel_size IS NOT NULL;

-- The words of each entity, by entity.id. The text itself is in `name`; see `entitychange`.
CREATE VIRTUAL TABLE entity_words USING fts5(
    name, object, run, user, session, content='', tokenize="unicode61 remove_diacritics 2"
);

-- What remote layers have listed; see `copickfs.index.listings`.
CREATE TABLE listing (
    source TEXT NOT NULL,                     -- what tells one layer root from another; no secret
    directory TEXT NOT NULL,                  -- in the layer; a BLOB where it is not UTF-8
    fetched_ns INTEGER NOT NULL,              -- when the source was asked, ns since the epoch; negative: and
                                              -- it was seen to differ since, or changed by a mount
    digest INTEGER NOT NULL,                  -- of `entries`: a damaged one is not used
    entries BLOB NOT NULL,                    -- empty: a mount has changed the directory at `fetched_ns`
    PRIMARY KEY (source, directory)
) WITHOUT ROWID;
"""

_SECOND = """
-- The names that people know runs by, where a layer tells others than those of their directories.
CREATE TABLE run_name (
    stack INTEGER NOT NULL REFERENCES stack (id),
    run INTEGER NOT NULL REFERENCES name (id),
    text TEXT NOT NULL,
    PRIMARY KEY (stack, run)
) WITHOUT ROWID;

-- What was asked of a CryoET Data Portal at one time; see `copickfs.index.portal`.
CREATE TABLE portal_selection (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,                 -- the portal, and what was asked for
    fetched_ns INTEGER NOT NULL,              -- when it was asked, ns since the epoch; 0: it never answered
    digest TEXT NOT NULL,                     -- differs when anything in the answer does
    about BLOB NOT NULL,                      -- what is told of all of it: JSON, compressed
    failed_ns INTEGER NOT NULL,               -- when it was asked last and did not answer; 0: it did
    failure TEXT NOT NULL                     -- why, in one line
);
CREATE TABLE portal_run (
    selection INTEGER NOT NULL REFERENCES portal_selection (id),
    run INTEGER NOT NULL,                     -- the portal's number of it
    dataset INTEGER NOT NULL,                 -- the portal's number of its dataset
    name TEXT NOT NULL,                       -- the portal's name of it; a BLOB where it is not UTF-8
    digest TEXT NOT NULL,                     -- of name and record
    record BLOB NOT NULL,                     -- all that the portal tells of it: JSON, compressed
    PRIMARY KEY (selection, run)
) WITHOUT ROWID;
"""
"""What version 2 has added."""

_THIRD = """
-- What all voxels of a volume come to; see `copickfs.index.statistics`.
CREATE TABLE volume_statistics (
    stack INTEGER NOT NULL REFERENCES stack (id),
    path TEXT NOT NULL,                       -- of the array, or a part of it, in the merged tree
    version TEXT NOT NULL,                    -- differs when the voxels may have changed
    minimum REAL NOT NULL,
    maximum REAL NOT NULL,
    mean REAL NOT NULL,
    rms REAL NOT NULL,                        -- of the deviations from the mean
    PRIMARY KEY (stack, path)
) WITHOUT ROWID;
"""
"""What version 3 has added."""

TABLES = _FIRST + _SECOND + _THIRD

MIGRATIONS: dict[int, str] = {1: _SECOND, 2: _THIRD}
"""By the version that they start from, the statements that make the next one."""
