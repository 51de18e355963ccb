"""Fixtures of the process tests in it/ and proofs/.

server          a running confabd on a free port and a data directory of its own
server_factory  more of them, or with other flags: server_factory("--shards", "4")
confab          runs the CLI: confab("send", "bob", "hi", user="alice")

Every test has its own directory, port and processes, so that tests can run in parallel (-n). A
server's readiness is probed, never slept for. At the end of a test each server gets SIGINT and must
end with 0 (a sanitizer's report makes it end otherwise); what is left is killed by its pid. When a
test fails, the tail of each server's log is in the report and its data stays; else the data goes at
once: a server preallocates 64 MB, and there are hundreds of them.
"""

import shutil

import pytest

import harness


@pytest.fixture
def server_factory(tmp_path, request):
    servers = []

    def make(*flags, data=None, start=True):
        index = len(servers)
        new = harness.Server(data or tmp_path / f"data{index}", tmp_path / f"confabd{index}.log",
                             flags)
        servers.append(new)
        if start:
            new.start()
        return new

    request.node.confab_servers = servers
    yield make
    problems = []
    for server in servers:
        server.close_sockets()
        try:
            server.stop()
        except harness.ServerError as reason:
            problems.append(str(reason))
        finally:
            server.kill()
    assert not problems, "\n".join(problems)
    if not getattr(request.node, "confab_failed", False):
        for server in servers:
            shutil.rmtree(server.data, ignore_errors=True)


@pytest.fixture
def server(server_factory):
    return server_factory()


@pytest.fixture
def confab(tmp_path, server):
    return harness.Cli(tmp_path / "home", server)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        item.confab_failed = True
        for server in getattr(item, "confab_servers", []):
            report.sections.append((f"log of {server.log.name}", server.log_tail()))
