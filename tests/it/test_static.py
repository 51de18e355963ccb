"""What the server hands out as files: the web client, or the page of a build without it."""

import gzip
import re

import pytest

import harness

CONFAB_WEB = re.search(r"^CONFAB_WEB:STRING=(.*)$",
                       (harness.BUILD / "CMakeCache.txt").read_text(), re.MULTILINE).group(1)


def test_page_comes_with_its_guards(server):
    page = server.http("GET", "/")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "no-cache"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
    assert (b"CONFAB_WEB=OFF" in page.body) == (CONFAB_WEB == "OFF")


def test_compressed_forms_hold_the_same(server):
    plain = server.http("GET", "/")
    packed = server.http("GET", "/", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["ETag"] != plain.headers["ETag"]
    smallest = server.http("GET", "/", headers={"Accept-Encoding": "gzip, br"})
    assert smallest.headers["Content-Encoding"] == "br"
    assert len(smallest.body) < len(plain.body)


def test_what_is_known_is_not_sent_again(server):
    tag = server.http("GET", "/").headers["ETag"]
    again = server.http("GET", "/", headers={"If-None-Match": tag})
    assert again.status == 304 and again.body == b"" and again.headers["ETag"] == tag


def test_what_the_page_names_is_there(server):
    page = server.http("GET", "/").body.decode()
    for url in re.findall(r'(?:src|href)="(/[^"]*)"', page):
        got = server.http("GET", url)
        assert got.status == 200, url
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        if re.search(r"/assets/.*-[\w-]{8,}\.", url):
            assert "immutable" in got.headers["Cache-Control"], url
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=", page), "the policy forbids it"


@pytest.mark.parametrize("path", ["/no-such", "/assets/", "/index.htm", "/chat/1", "/%2e%2e/x"])
def test_other_paths_are_not_found(server, path):
    answer = server.http("GET", path)
    assert answer.status == 404 and answer.error_code == "not_found"


def test_api_documents_are_served(server):
    """Each file of docs/api that cmake/web.cmake names, byte by byte."""
    folder = harness.ROOT / "docs" / "api"
    files = {f"/api/v1/{path.name}": path for path in folder.glob("*.json")}
    files.update({f"/api/{path.name.removesuffix('.html')}": path for path in folder.glob("docs.*")
                  if path.suffix in (".html", ".js", ".css")})
    for url, path in files.items():
        got = server.http("GET", url)
        assert got.status == 200 and got.body == path.read_bytes(), url
    for url in ("/api/v1/openapi.json", "/api/v1/asyncapi.json", "/api/docs"):
        assert server.http("GET", url).status == (200 if url in files else 404)


def test_posting_to_a_page_is_refused(server):
    answer = server.http("POST", "/", {})
    assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD"
