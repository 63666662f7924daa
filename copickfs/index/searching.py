"""What somebody has typed into a search, as SQLite wants it. Every text is data, never syntax."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from copickfs.index.text import shown, words

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_CLAUSE = re.compile(r'"([^"]*)"(\*?)|(\S+)')
_MOST_CLAUSES = 20
_MOST_CHARACTERS = 1_000
_MOST_NAMES = 200
_TRIGRAM = 3
_NAMED = ("name", "object", "run", "user", "session")


class Clause(NamedTuple):
    """One part of a search.

    Attributes:
        text: What is looked for.
        is_prefix: It begins a word.
        is_phrase: Its words stand together; it is not taken for less than that.
    """

    text: str
    is_prefix: bool = False
    is_phrase: bool = False


def clauses_of(text: str) -> list[Clause]:
    """The parts of what was typed."""
    clauses: list[Clause] = []
    for phrase, star, word in _CLAUSE.findall(words(text.replace("\0", " "))[:_MOST_CHARACTERS]):
        if phrase.strip():
            clauses.append(Clause(phrase, bool(star), is_phrase=True))
        elif stripped := word.strip('"'):
            is_prefix = stripped.endswith("*") and len(stripped) > 1
            clauses.append(Clause(stripped[:-1] if is_prefix else stripped, is_prefix))
    return clauses[:_MOST_CLAUSES]


def expressions(connection: sqlite3.Connection, text: str, stack: int) -> Iterator[str]:
    """The ways to understand a search, the strictest first, as FTS5 expressions on ``entity_words``."""
    clauses = clauses_of(text)
    if not clauses:
        return
    if all(_has_words(clause.text) for clause in clauses):
        yield " AND ".join(map(_quoted, clauses))
        loose = [clause._replace(is_prefix=clause.is_prefix or not clause.is_phrase) for clause in clauses]
        if loose != clauses:
            yield " AND ".join(map(_quoted, loose))
    parts = [_names_with(connection, clause.text, stack) for clause in clauses]
    if all(parts) and any(
        not _begins_word(clause, names) for clause, names in zip(clauses, parts, strict=True)
    ):
        yield " AND ".join("(" + " OR ".join(map(_quoted, names)) + ")" for names in parts)


def _quoted(clause: Clause) -> str:
    return '"' + clause.text.replace('"', '""') + '"' + "*" * clause.is_prefix


def _begins_word(clause: Clause, names: list[Clause]) -> bool:
    """True if ``clause`` begins a word in all of these names: then it was found, or not, as such."""
    begins = re.compile(r"(?<![^\W_])" + re.escape(clause.text), re.IGNORECASE)
    return _has_words(clause.text) and all(begins.search(name.text) for name in names)


def _has_words(text: str) -> bool:
    """False for nothing but punctuation, of which there is none in the table of words."""
    return any(character.isalnum() for character in text)


def _names_with(connection: sqlite3.Connection, part: str, stack: int) -> list[Clause]:
    """Names of a stack that have ``part`` in them, in letters of any case; the shortest if there are many."""
    if len(part) >= _TRIGRAM:
        found = "SELECT text FROM name WHERE id IN (SELECT rowid FROM name_parts WHERE name_parts MATCH ?)"
        value = _quoted(Clause(part))
    else:
        found = "SELECT text FROM name WHERE text LIKE ? ESCAPE '\\' AND typeof(text) = 'text'"
        value = "%" + part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    used = " OR ".join(
        f"EXISTS (SELECT 1 FROM entity WHERE entity.{column} = name.id AND entity.stack = ?)"
        for column in _NAMED
    )
    limited = f"{found} AND ({used}) ORDER BY length(text), text LIMIT ?"
    rows = connection.execute(limited, (value, *[stack] * len(_NAMED), _MOST_NAMES))
    return [Clause(words(shown(name))) for (name,) in rows if _has_words(shown(name))]
