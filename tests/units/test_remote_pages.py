"""Listings as real web servers make them, and pages that are none."""

from __future__ import annotations

import pytest

from copickfs.layers.sources import DIRECTORY, FILE
from copickfs.layers.sources.web_listing import http_date_ns, parse_json, parse_page

URL = "http://lab.example/data/run%201/"

PYTHON = """<!DOCTYPE HTML>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Directory listing for /data/run 1/</title>
</head>
<body>
<h1>Directory listing for /data/run 1/</h1>
<hr>
<ul>
<li><a href="Picks/">Picks/</a></li>
<li><a href="a%20%5B1%5D%20%23%3F%25.json">a [1] #?%.json</a></li>
<li><a href="link">link@</a></li>
</ul>
<hr>
</body>
</html>
"""

NGINX = """<html>
<head><title>Index of /data/run 1/</title></head>
<body>
<h1>Index of /data/run 1/</h1><hr><pre><a href="../">../</a>
<a href="Picks/">Picks/</a>                                  12-Nov-2024 10:11                   -
<a href="a%20%5B1%5D%20%23%3F%25.json">a [1] #?%.json</a>    12-Nov-2024 10:11                1234
<a href="link">link</a>                                      12-Nov-2024 10:11                   7
</pre><hr></body>
</html>
"""

APACHE = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html>
 <head><title>Index of /data/run 1</title></head>
 <body>
<h1>Index of /data/run 1</h1>
  <table>
   <tr><th valign="top"><img src="/icons/blank.gif" alt="[ICO]"></th><th><a href="?C=N;O=D">Name</a></th>
   <th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><a href="/data/">Parent Directory</a></td><td>&nbsp;</td></tr>
<tr><td><img src="/icons/folder.gif" alt="[DIR]"></td><td><a href="Picks/">Picks/</a></td></tr>
<tr><td></td><td><a href="a%20%5b1%5d%20%23%3f%25.json">a [1] #?%.json</a></td><td>1.2K</td></tr>
<tr><td></td><td><a href="link">link</a></td><td align="right">  7 </td></tr>
</table>
<address>Apache/2.4.62 (Debian) Server at lab.example Port 80</address>
</body></html>
"""

ABSOLUTE = """<html><head><title>lab.example - /data/run 1/</title></head><body>
<H1>lab.example - /data/run 1/</H1><pre><A HREF="/data/">[To Parent Directory]</A><br><br>
<A class=x HREF='/data/run%201/Picks/'>Picks</A><br>
<A HREF=/data/run%201/a%20%5B1%5D%20%23%3F%25.json>a</A><br>
<A HREF="http://lab.example/data/run%201/link">link</A><br>
</pre></body></html>
"""


@pytest.mark.parametrize(
    "page", [PYTHON, NGINX, APACHE, ABSOLUTE], ids=["python", "nginx", "apache", "absolute"]
)
def test_listings_of_real_servers(page: str) -> None:
    listing = parse_page(page, URL)
    assert listing is not None
    assert not listing.complete
    assert {(e.name, e.kind) for e in listing.entries} == {
        ("Picks", DIRECTORY),
        ("a [1] #?%.json", FILE),
        ("link", FILE),
    }


def test_an_empty_directory_is_a_listing() -> None:
    page = "<html><head><title>Index of /data/</title></head><body><h1>Index of /data/</h1></body></html>"
    listing = parse_page(page, URL)
    assert listing is not None
    assert listing.entries == []


def test_links_that_lead_elsewhere_are_no_entries() -> None:
    links = (
        "https://other.example/data/run%201/x", "../up", "/data/other", "deep/er/x", "mailto:a@b", "?C=N",
        "javascript:void(0)", "#top", ".", "./", "..", "/data/run%201/", "//other.example/data/run%201/y",
        "http://[broken",
    )  # fmt: skip
    page = "<title>Index of x</title>" + "".join(f'<a href="{link}">x</a>' for link in links)
    listing = parse_page(page, URL)
    assert listing is not None
    assert listing.entries == []


def test_the_root_of_a_server() -> None:
    links = '<a href="../">up</a><a href="/">root</a><a href="/x">x</a><a href="y/">y</a>'
    page = f"<title>Index of /</title>{links}"
    listing = parse_page(page, "http://lab.example/")
    assert listing is not None
    assert {entry.name for entry in listing.entries} == {"x", "y"}


def test_names_are_decoded_byte_by_byte() -> None:
    page = "<title>Index of x</title>" + "".join(
        f'<a href="{href}">x</a>' for href in ("%E9t%E9", "a&amp;b", "%2e%2e", "x%2Fy", "nul%00", "%C3%BC/")
    )
    listing = parse_page(page, URL)
    assert listing is not None
    names = {entry.name for entry in listing.entries}
    assert names == {"\udce9t\udce9", "a&b", "..", "x/y", "nul\0", "ü"}


@pytest.mark.parametrize(
    "page",
    [
        "<html><title>Our lab</title><a href='x.json'>our data</a></html>",
        "",
        "just text",
        "<title>Sign in</title><form action=/login></form>",
    ],
)
def test_other_pages_are_no_listings(page: str) -> None:
    assert parse_page(page, URL) is None


def test_a_long_page_is_parsed_in_no_time() -> None:
    page = "<title>Index of x</title>" + "".join(f'<a href="{i}.json">{i}</a>\n' for i in range(100_000))
    listing = parse_page(page, URL)
    assert listing is not None
    assert len(listing.entries) == 100_000
    assert parse_page("<a " * 50_000, URL) is None


def test_json_listings() -> None:
    listing = parse_json(
        '[{"name":"Picks","type":"directory","mtime":"Tue, 12 Nov 2024 10:11:12 GMT"},'
        '{"name":"a b","type":"file","mtime":"Tue, 12 Nov 2024 10:11:12 GMT","size":1234}]'
    )
    assert listing is not None
    assert listing.complete
    assert [(e.name, e.kind, e.size_bytes) for e in listing.entries] == [
        ("Picks", DIRECTORY, 0),
        ("a b", FILE, 1234),
    ]
    assert listing.entries[1].mtime_ns == 1_731_406_272 * 10**9


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"error": "x"}', '[{"name": "x"}]', '[{"name":"x","type":"file"}]']
)
def test_other_json_is_no_listing(text: str) -> None:
    assert parse_json(text) is None or parse_json(text).entries == []  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["", "yesterday", "0", "Tue, 99 Nov 2024 10:11:12 GMT"])
def test_dates_that_are_none_are_zero(text: str) -> None:
    assert http_date_ns(text) == 0
