"""What a start says to the person who made it."""

import harness


def greeting(server):
    return harness.wait_until(
        lambda: "Ctrl-C" in server.log.read_text() and server.log.read_text(), "the greeting")


def test_it_names_the_link_and_the_way_from_another_device(server_factory, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    server = server_factory()
    text = greeting(server)
    assert f"serves at {server.url}/" in text
    assert "--lan" in text
    assert "ssh -L" not in text
    assert "\u2588" not in text, "nobody else can follow a link to this machine's loopback"


def test_over_ssh_it_says_how_to_get_a_browser_to_it(server_factory, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":10")  # forwarded, which is no reason to use it
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.9 50000 10.0.0.5 22")
    monkeypatch.setenv("USER", "pat")
    server = server_factory()
    assert f"ssh -L {server.port}:127.0.0.1:{server.port} pat@10.0.0.5" in greeting(server)


def test_without_a_screen_it_says_that_too(server_factory, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    server = server_factory()
    assert f"ssh -L {server.port}:127.0.0.1:{server.port} " in greeting(server)
