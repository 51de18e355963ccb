"""RFC 6455 and RFC 7692 over a raw socket, with the numbering of the Autobahn suite's cases.

Confab is no echo server: a text has to be an event. What is to be answered is a `heartbeat` that
carries what the case is about, in spaces, in an unknown field, or cut into fragments; where the
suite expects an echo, the answer to that heartbeat is expected. Binary messages are refused (1003).

A case is what is sent, as frames, and what has to come back, in order:
    BEAT          the answer to a heartbeat          ERROR  an `error`: the text is no event
    pong(…)       that pong                          close(n)  a close frame with that code, the end
and, where the suite chops what it sends, the size of the pieces. Not the same as there: texts above
websocket-frame-bytes, with which the suite measures, are refused (9.x, 10.1.1, 12.x beyond 64 KiB),
and a frame is looked at when it is whole, so that 6.4.3 and 6.4.4 fail at its end, not before.
"""

import random
import socket
import struct
import zlib

import pytest

import harness

FRAME_BYTES = 65536
TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0
BEAT, ERROR = ("text", "heartbeat"), ("text", "error")


def pong(payload=b""):
    return ("pong", payload)


def close(code=None):
    return ("close", code)


def frame(opcode, payload=b"", fin=True, rsv=0, masked=True, length=None):
    """`length`: the form of it, 7, 16 or 64 bits, when it is not to be the shortest."""
    n = len(payload)
    form = length or (7 if n < 126 else 16 if n < 65536 else 64)
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    head += {7: lambda: struct.pack("!B", mask_bit | n),
             16: lambda: struct.pack("!BH", mask_bit | 126, n),
             64: lambda: struct.pack("!BQ", mask_bit | 127, n)}[form]()
    if not masked:
        return head + payload
    key = b"\x11\x22\x33\x44"
    stream = (key * (n // 4 + 1))[:n]
    # As numbers: some of what is sent is large.
    return head + key + (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(n, "big")


def beat(size=None, extra=b""):
    """A heartbeat of that many bytes, with text in an unknown field."""
    text = b'{"event":"heartbeat","x":"' + extra + b'"}'
    return text if size is None else text + b" " * (size - len(text))


def text(payload, **kwargs):
    return frame(TEXT, payload, **kwargs)


def parts(payload, *sizes, between=b"", opcode=TEXT, rsv=0):
    """The payload in fragments of these sizes, the rest as the last; `between` each two."""
    out, at = b"", 0
    for i, size in enumerate(sizes):
        out += frame(opcode if i == 0 else CONTINUATION, payload[at:at + size], fin=False,
                     rsv=rsv if i == 0 else 0) + between
        at += size
    return out + frame(CONTINUATION if sizes else opcode, payload[at:],
                       rsv=0 if sizes else rsv)


def shut(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


HELLO = beat(extra="Hellö".encode())
# 6.5 to 6.23: what is to be taken, and what not (sequences cut, overlong, surrogates, too high).
KOSME = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"
GOOD_UTF8 = (
    *(KOSME[:n] for n in (2, 5, 7, 9)), KOSME,  # 6.6
    b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80",  # 6.7
    b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf",  # 6.9
    b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd",  # 6.11
    *(chr(plane << 16 | low).encode() for plane in range(17) for low in (0xfffe, 0xffff)),  # 6.22
    *(chr(c).encode() for c in (0xfff9, 0xfffb, 0xfffc, 0xfffd, 0xfeff, 0xfdd0, 0xfdef)))  # 6.23
BAD_UTF8 = (
    b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80",  # 6.8
    b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf",  # 6.10
    *(b"\x80" * n for n in range(1, 7)), bytes(range(0x80, 0xc0)),  # 6.12
    *(bytes(b for lead in range(*leads) for b in (lead, 0x20))
      for leads in ((0xc0, 0xe0), (0xe0, 0xf0), (0xf0, 0xf8), (0xf8, 0xfc), (0xfc, 0xfe))),  # 6.13
    b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xdf", b"\xef\xbf",
    b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf",  # 6.14, 6.15
    b"\xfe", b"\xff", b"\xfe\xfe\xff\xff",  # 6.16
    b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf",  # 6.17
    b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf",  # 6.18
    b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80",  # 6.19
    *(c.to_bytes(3, "big") for c in (0xeda080, 0xedadbf, 0xedae80, 0xedafbf, 0xedb080, 0xedbe80,
                                     0xedbfbf)),  # 6.20
    b"\xed\xa0\x80\xed\xb0\x80", b"\xed\xaf\xbf\xed\xbf\xbf",  # 6.21
    b"\xf4\x90\x80\x80")
CASES = {
    # 1 Framing
    "1.1.1": (text(b"") + text(HELLO), [ERROR, BEAT]),
    **{f"1.1.{i}": (text(beat(n)), [BEAT])
       for i, n in ((2, 125), (3, 126), (4, 127), (5, 128), (6, 65535), (7, 65536))},
    "1.1.8": (text(beat(65536)), [BEAT], 997),
    "1.2.1": (frame(BINARY), [close(1003)]),
    **{f"1.2.{i}": (frame(BINARY, b"\xfe" * n), [close(1003)])
       for i, n in ((2, 125), (3, 126), (4, 127), (5, 128), (6, 65535), (7, 65536))},
    "1.2.8": (frame(BINARY, b"\xfe" * 65536), [close(1003)], 997),
    # 2 Pings and pongs
    "2.1": (frame(PING), [pong()]),
    "2.2": (frame(PING, b"Hello, world!"), [pong(b"Hello, world!")]),
    "2.3": (frame(PING, b"\x00\xff\xfe\xfd"), [pong(b"\x00\xff\xfe\xfd")]),
    "2.4": (frame(PING, b"\xfe" * 125), [pong(b"\xfe" * 125)]),
    "2.5": (frame(PING, b"\xfe" * 126), [close(1002)]),
    "2.6": (frame(PING, b"\xfe" * 125), [pong(b"\xfe" * 125)], 1),
    "2.7": (frame(PONG) + frame(PING, b"x"), [pong(b"x")]),
    "2.8": (frame(PONG, b"unsolicited") + frame(PING, b"x"), [pong(b"x")]),
    "2.9": (frame(PONG, b"unsolicited") + frame(PING, b"p") + text(HELLO), [pong(b"p"), BEAT]),
    "2.10": (b"".join(frame(PING, b"%d" % i) for i in range(10)),
             [pong(b"%d" % i) for i in range(10)]),
    "2.11": (b"".join(frame(PING, b"%d" % i) for i in range(10)),
             [pong(b"%d" % i) for i in range(10)], 1),
    # 3 Reserved bits
    **{f"3.{rsv}": (text(HELLO) + text(HELLO, rsv=rsv) + frame(PING), [BEAT, close(1002)])
       for rsv in range(1, 6)},
    "3.6": (frame(BINARY, b"x", rsv=6), [close(1002)]),
    "3.7": (frame(CLOSE, rsv=7), [close(1002)]),
    "3.1 ping": (frame(PING, rsv=4), [close(1002)]),
    # 4 Opcodes
    **{f"4.1.{i}": (text(HELLO) + frame(op, b"x" * (i % 2)), [BEAT, close(1002)])
       for i, op in enumerate((3, 4, 5, 6, 7), 1)},
    **{f"4.2.{i}": (text(HELLO) + frame(op, b"x" * (i % 2)), [BEAT, close(1002)])
       for i, op in enumerate((11, 12, 13, 14, 15), 1)},
    # 5 Fragmentation
    "5.1": (frame(PING, b"a", fin=False) + frame(CONTINUATION, b"b"), [close(1002)]),
    "5.2": (frame(PONG, b"a", fin=False) + frame(CONTINUATION, b"b"), [close(1002)]),
    "5.3": (parts(HELLO, 10), [BEAT]),
    "5.4": (parts(HELLO, 10), [BEAT], 7),
    "5.5": (parts(HELLO, 10), [BEAT], 1),
    "5.6": (parts(HELLO, 10, between=frame(PING, b"x")), [pong(b"x"), BEAT]),
    "5.7": (parts(HELLO, 10, between=frame(PING, b"x")), [pong(b"x"), BEAT], 7),
    "5.8": (parts(HELLO, 10, between=frame(PING, b"x")), [pong(b"x"), BEAT], 1),
    **{f"5.{i}": (frame(CONTINUATION, b"x") + text(HELLO), [close(1002)], chop)
       for i, chop in ((9, None), (10, 7), (11, 1))},
    **{f"5.{i}": (frame(CONTINUATION, b"x", fin=False) + text(HELLO), [close(1002)], chop)
       for i, chop in ((12, None), (13, 7), (14, 1))},
    "5.15": (parts(HELLO, 10) + frame(CONTINUATION, b"x", fin=False), [BEAT, close(1002)]),
    "5.16": (frame(CONTINUATION, b"x", fin=False) + parts(HELLO, 4), [close(1002)]),
    "5.17": (frame(CONTINUATION, b"x") + parts(HELLO, 4), [close(1002)]),
    "5.18": (text(b"a", fin=False) + text(b"b"), [close(1002)]),
    "5.19": (parts(HELLO, 5, 5, 5, 5, between=frame(PING, b"p")), [pong(b"p")] * 4 + [BEAT]),
    "5.20": (parts(HELLO, 5, 5, 5, 5, between=frame(PING, b"p")), [pong(b"p")] * 4 + [BEAT], 1),
    "5.x empty": (parts(HELLO, 0, 0, 3, 0), [BEAT]),
    # 6 UTF-8
    "6.1.1": (text(b"") + text(HELLO), [ERROR, BEAT]),
    "6.1.2": (parts(HELLO, 0, 0, len(HELLO)), [BEAT]),
    "6.2.1": (text(beat(extra="Hello-µ@ßöäüàá-UTF-8!!".encode())), [BEAT]),
    "6.1.3": (parts(b"") + parts(b"", 0, 0) + text(HELLO), [ERROR, ERROR, BEAT]),
    "6.2.2": (parts(beat(extra="Hello-µ@ßöäüàá-UTF-8!!".encode()), 35), [BEAT]),
    "6.2.4": (parts(beat(extra=KOSME), *[1] * 35), [BEAT]),
    "6.2.3": (parts(beat(extra="µ@ßöäüàá".encode()), *[1] * 40), [BEAT]),
    "6.3.1": (text(beat(extra="κόσμε".encode() + b"\xed\xa0\x80")), [close(1007)]),
    "6.3.2": (parts(beat(extra=KOSME + b"\xed\xa0\x80"), *[1] * 40), [close(1007)]),
    # At once: the rest of the message never comes.
    "6.4.1": (text(KOSME + b"\xf4\x90\x80\x80", fin=False), [close(1007)]),
    "6.4.2": (text(KOSME + b"\xf4", fin=False) + frame(CONTINUATION, b"\x90", fin=False),
              [close(1007)]),
    "6.4.3": (text(KOSME + b"\xf4\x90\x80\x80edited"), [close(1007)], 3),
    "6.4.4": (text(KOSME + b"\xf4\x90\x80\x80edited"), [close(1007)], 1),
    "6.5 cut": (text(beat(extra=b"\xce")[:-2], fin=True), [close(1007)]),
    "6.6 all": (b"".join(text(beat(extra=good)) for good in GOOD_UTF8), [BEAT] * len(GOOD_UTF8)),
    "6.6 cut": (b"".join(parts(beat(extra=good), *[1] * 30) for good in GOOD_UTF8),
                [BEAT] * len(GOOD_UTF8)),
    **{f"6.x {bad.hex()}": (text(beat(extra=bad)), [close(1007)]) for bad in BAD_UTF8},
    **{f"6.x {bad.hex()} cut": (parts(beat(extra=bad), *[1] * 30), [close(1007)])
       for bad in BAD_UTF8},
    # 7 Closing
    "7.1.1": (text(HELLO) + shut(1000), [BEAT, close(1000)]),
    "7.1.2": (shut(1000) + shut(1000), [close(1000)]),
    "7.1.3": (shut(1000) + frame(PING), [close(1000)]),
    "7.1.4": (shut(1000) + text(HELLO), [close(1000)]),
    "7.1.5": (text(HELLO[:5], fin=False) + shut(1000) + frame(CONTINUATION, HELLO[5:]),
              [close(1000)]),
    "7.1.6": (text(beat(65536)) * 4 + text(HELLO) + shut(1000), [BEAT] * 5 + [close(1000)]),
    "7.3.1": (shut(), [close()]),
    "7.3.2": (frame(CLOSE, b"a"), [close(1002)]),
    "7.3.3": (shut(1000), [close(1000)]),
    "7.3.4": (shut(1000, b"Hello, world!"), [close(1000)]),
    "7.3.5": (shut(1000, b"*" * 123), [close(1000)]),
    "7.3.6": (shut(1000, b"*" * 124), [close(1002)]),
    "7.5.1": (shut(1000, "κόσμε".encode() + b"\xed\xa0\x80"), [close(1007)]),
    **{f"7.7 {code}": (shut(code), [close(code)]) for code in (
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)},
    **{f"7.9 {code}": (shut(code), [close(1002)]) for code in (
        0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)},
    "7.13 5000": (shut(5000), [close(1002)]),
    "7.13 65535": (shut(65535), [close(1002)]),
    # 9 Limits
    "9.1 limit": (text(beat(FRAME_BYTES)), [BEAT]),
    "9.1 over": (text(beat(FRAME_BYTES + 1)), [close(1009)]),
    **{f"9.2.{i}": (frame(BINARY, b"\xfe" * n), [close(code)]) for i, n, code in (
        (1, 65536, 1003), (2, 256 << 10, 1009), (3, 1 << 20, 1009), (6, 16 << 20, 1009))},
    **{f"9.1.{i}": (text(beat(n)), [close(1009)])
       for i, n in ((2, 256 << 10), (3, 1 << 20), (6, 16 << 20))},
    **{f"9.4.{i}": (parts(b"\xfe" * (4 << 20), *[n] * 3, opcode=BINARY), [close(1003 if n <= FRAME_BYTES
                    else 1009)]) for i, n in enumerate((64, 1024, 4096, 65536, 1 << 20), 1)},
    **{f"9.5.{i}": (text(beat(FRAME_BYTES)), [BEAT], n)
       for i, n in enumerate((64, 128, 256, 512, 1024, 2048), 1)},
    **{f"9.7.{i}": (text(beat(max(n, 30))) * 100, [BEAT] * 100)
       for i, n in enumerate((0, 16, 64, 256, 1024, 4096), 1)},
    "9.3 fragments": (parts(beat(FRAME_BYTES), *[64] * 1023), [BEAT]),
    "9.3 over": (parts(beat(FRAME_BYTES + 1), *[4096] * 16), [close(1009)]),
    "9.7": (text(beat()) * 200, [BEAT] * 200),
    "9.x length": (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", [close(1002)]),
    "9.x huge": (b"\x81\xff\x00\x00\x00\xff\xff\xff\xff\xff" + b"mask", [close(1009)]),
    # 10, and what the suite leaves out
    "10.1.1": (parts(beat(FRAME_BYTES), *[1300] * 50), [BEAT]),
    "not masked": (text(HELLO, masked=False), [close(1002)]),
    "long form 16": (text(b"x", length=16), [close(1002)]),
    "long form 64": (text(beat(300), length=64), [close(1002)]),
}


def deflated(payload, bits=15, level=6, strategy=zlib.Z_DEFAULT_STRATEGY):
    z = zlib.compressobj(level, zlib.DEFLATED, -bits, 8, strategy)
    return (z.compress(payload) + z.flush(zlib.Z_SYNC_FLUSH))[:-4]


def noise(n):
    dice = random.Random(n)
    return bytes(dice.choice(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/")
                 for _ in range(n))


def ended(payload):
    """With its last block marked as such, and the empty one behind it (RFC 7692, 7.2.3.4)."""
    z = zlib.compressobj(6, zlib.DEFLATED, -15)
    return z.compress(payload) + z.flush() + b"\x00"


# 12: what is compressed, by size; 13: with which parameters.
SIZES = (16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536)
OFFERS = {
    "13.1": "permessage-deflate",
    "13.2": "permessage-deflate; client_max_window_bits",
    "13.3": "permessage-deflate; server_max_window_bits=9",
    "13.4": "permessage-deflate; server_max_window_bits=15",
    "13.5": "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
    "13.6": "permessage-deflate; server_no_context_takeover; server_max_window_bits=10, "
            "permessage-deflate",
    "13.7": "permessage-deflate; server_max_window_bits=8, permessage-deflate; "
            "client_max_window_bits=9",
}
DEFLATE_CASES = {
    **{f"12.1.{i}": (frame(TEXT, deflated(beat(max(n, 30))), rsv=4) * 5, [BEAT] * 5)
       for i, n in enumerate(SIZES, 1)},
    **{f"12.2.{i}": (parts(deflated(beat(max(n, 60))), *[7] * 3, rsv=4), [BEAT])
       for i, n in enumerate(SIZES, 1)},
    # Text that hardly compresses, and one context kept over all messages (12.3 to 12.5).
    **{f"12.4.{i}": (frame(TEXT, deflated(beat(extra=noise(n))), rsv=4) * 3, [BEAT] * 3)
       for i, n in enumerate(SIZES[:-1], 1)},
    **{f"12.5.{i}": (frame(TEXT, deflated(beat(max(n, 60))), rsv=4) * 3, [BEAT] * 3, 997)
       for i, n in enumerate(SIZES, 1)},
    "12.3 stored": (frame(TEXT, deflated(beat(4000), level=0), rsv=4), [BEAT]),
    "12.3 fixed": (frame(TEXT, deflated(beat(4000), strategy=zlib.Z_FIXED), rsv=4), [BEAT]),
    "12.3 last block": (frame(TEXT, ended(beat(4000)), rsv=4), [BEAT]),
    "12.4 plain": (text(beat(4000)), [BEAT]),
    "12.4 both": (text(beat()) + frame(TEXT, deflated(beat()), rsv=4) + text(beat()), [BEAT] * 3),
    "12.5 ping between": (parts(deflated(beat(200)), 9, 9, rsv=4, between=frame(PING, b"x")),
                          [pong(b"x")] * 2 + [BEAT]),
    "rsv1 continuation": (frame(TEXT, b"x", fin=False, rsv=4) + frame(CONTINUATION, b"y", rsv=4),
                          [close(1002)]),
    "rsv1 ping": (frame(PING, rsv=4), [close(1002)]),
    "rsv1 close": (frame(CLOSE, rsv=4), [close(1002)]),
    "rsv2": (text(HELLO, rsv=2), [close(1002)]),
    "rsv1 and 3": (text(HELLO, rsv=5), [close(1002)]),
    "not deflate": (frame(TEXT, b"\xff\xff\xff\xff", rsv=4), [close(1007)]),
    "cut": (frame(TEXT, deflated(beat(4000))[:-9], rsv=4), [close(1007)]),
    "not utf-8": (frame(TEXT, deflated(beat(extra=b"\xed\xa0\x80")), rsv=4), [close(1007)]),
    "limit": (frame(TEXT, deflated(beat(FRAME_BYTES)), rsv=4), [BEAT]),
    "one over": (frame(TEXT, deflated(beat(FRAME_BYTES + 1)), rsv=4), [close(1009)]),
    "bomb": (frame(TEXT, deflated(b" " * (50 << 20)), rsv=4), [close(1009)]),
    "bomb in fragments": (parts(deflated(b" " * (20 << 20)), *[999] * 20, rsv=4), [close(1009)]),
    "binary": (frame(BINARY, deflated(b"abc" * 50), rsv=4), [close(1003)]),
}


class Raw:
    """A socket on which bytes are written as the test makes them."""

    def __init__(self, server, token, offer=None):
        self.socket = socket.create_connection(("127.0.0.1", server.port), harness.DEADLINE_S)
        self.buffer = b""
        head = (f"GET /ws?token={token} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
        if offer:
            head += f"Sec-WebSocket-Extensions: {offer}\r\n"
        self.socket.sendall(head.encode() + b"\r\n")
        while b"\r\n\r\n" not in self.buffer:
            assert self.more()
        self.head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        assert self.head.startswith(b"HTTP/1.1 101 ")
        self.extensions = next((line.split(b": ", 1)[1].decode()
                                for line in self.head.split(b"\r\n")
                                if line.lower().startswith(b"sec-websocket-extensions")), None)

    def more(self):
        got = self.socket.recv(1 << 16)
        self.buffer += got
        return bool(got)

    def take(self, n):
        while len(self.buffer) < n:
            if not self.more():
                return None
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def next(self):
        """One frame of the server, as the cases write it; None at the end."""
        head = self.take(2)
        if head is None:
            return None
        assert head[0] & 0x80 and not head[1] & 0x80, "fragmented, or masked"
        n = head[1] & 127
        if n == 126:
            n, = struct.unpack("!H", self.take(2))
            assert n > 125
        elif n == 127:
            n, = struct.unpack("!Q", self.take(8))
            assert n > 65535
        payload = self.take(n)
        opcode, rsv = head[0] & 15, head[0] >> 4 & 7
        assert rsv in (0, 4) and (rsv == 0 or (self.extensions and opcode == TEXT))
        if rsv:
            payload = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
        if opcode == CLOSE:
            return close(struct.unpack("!H", payload[:2])[0] if payload else None)
        if opcode == PONG:
            return pong(payload)
        assert opcode == TEXT
        return ("text", payload.split(b'"', 4)[3].decode())

    def run(self, sent, wanted, chop=None):
        assert self.next() == ("text", "hello")
        try:
            if chop:
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(sent), chop or len(sent)):
                self.socket.sendall(sent[at:at + (chop or len(sent))])
        except OSError:
            pass  # closed on the first of what was refused; the answers are still to be read
        for want in wanted:
            assert self.next() == want
        if wanted[-1][0] != "close":
            self.socket.sendall(shut(1000))
            assert self.next() == close(1000)
        assert self.next() is None, "more than was to come"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    started = {}
    for name, flags in (("plain", []), ("deflate", ["--websocket-compression"])):
        folder = tmp_path_factory.mktemp(name)
        server = harness.Server(folder / "data", folder / "log", flags).start()
        started[name] = (server, server.register("ann").token)
    yield started
    for server, _ in started.values():
        server.stop()


def check(servers, name, sent, wanted, chop=None, offer=None):
    server, token = servers[name]
    raw = Raw(server, token, offer)
    assert (raw.extensions is not None) == (offer is not None and name == "deflate")
    try:
        raw.run(sent, wanted, chop)
    finally:
        raw.socket.close()
    return raw.extensions


@pytest.mark.parametrize("case", CASES)
def test_framing(servers, case):
    check(servers, "plain", *CASES[case])


@pytest.mark.parametrize("case", DEFLATE_CASES)
def test_deflate(servers, case):
    check(servers, "deflate", *DEFLATE_CASES[case], offer=OFFERS["13.1"])


@pytest.mark.parametrize("case", OFFERS)
def test_deflate_parameters(servers, case):
    sent = b"".join(frame(TEXT, deflated(beat(n)), rsv=4) for n in (100, 5000, 60000))
    got = check(servers, "deflate", sent, [BEAT] * 3, offer=OFFERS[case])
    assert "server_no_context_takeover" in got and "client_no_context_takeover" in got
    assert ("server_max_window_bits" in got) == ("server_max_window_bits" in
                                                 OFFERS[case] and case != "13.7")


def test_offer_is_not_taken_up_where_it_is_off(servers):
    check(servers, "plain", text(HELLO), [BEAT], offer=OFFERS["13.2"])
    check(servers, "plain", text(HELLO, rsv=4), [close(1002)], offer=OFFERS["13.2"])


def test_random_cuts(servers):
    """The same bytes, in pieces of any size: the same answers."""
    dice = random.Random(1)
    sent = parts(HELLO, 10, between=frame(PING, b"x")) + text(HELLO) + shut(1000)
    server, token = servers["plain"]
    for _ in range(10):
        raw = Raw(server, token)
        raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert raw.next() == ("text", "hello")
        rest = sent
        while rest:
            n = dice.randint(1, 9)
            raw.socket.sendall(rest[:n])
            rest = rest[n:]
        for want in (pong(b"x"), BEAT, BEAT, close(1000), None):
            assert raw.next() == want
        raw.socket.close()
