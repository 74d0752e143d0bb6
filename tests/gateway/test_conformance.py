"""HTTP/1.1 to the letter, and its abuse: one row per case, with the answer that is expected.

Raw bytes on both sides of the real process. RFC 9110 and 9112 are named where they decide.
"""

from dataclasses import dataclass

import pytest

from support.raw_plane import RawPlane
from support.raw_sockets import (
    connection,
    is_closed,
    read_answer,
    send,
)

CLOSES, KEEPS = "closes", "keeps"


def request(
    target: str = "/raw/x",
    *fields: str,
    method: str = "GET",
    version: str = "1.1",
    body: bytes = b"",
    host: str = "Host: h\r\n",
) -> bytes:
    lines = "".join(f"{line}\r\n" for line in fields)
    head = f"{method} {target} HTTP/{version}\r\n{host}{lines}\r\n"
    return head.encode("utf-8", "surrogateescape") + body


def post(*fields: str, body: bytes = b"", version: str = "1.1") -> bytes:
    return request("/raw/x", *fields, method="POST", body=body, version=version)


CHUNKED = "Transfer-Encoding: chunked"
BODY = b"3\r\nabc\r\n0\r\n\r\n"


@dataclass(frozen=True)
class Row:
    """What is sent, what is answered, whether the connection stays, and what the upstream hears.

    `heard` are parts of the one request that the upstream hears, `not_heard` what is not in it;
    without `heard` it hears nothing.
    """

    name: str
    sent: bytes | tuple[bytes, ...]
    status: int
    then: str = CLOSES
    heard: tuple[bytes, ...] = ()
    not_heard: tuple[bytes, ...] = ()
    answered: tuple[bytes, ...] = ()
    not_answered: tuple[bytes, ...] = (b"aiohttp",)
    to_head: bool = False


def refused(name: str, sent: bytes, status: int = 400) -> Row:
    return Row(name, sent, status)


def passes(name: str, sent: bytes, *heard: bytes, then: str = KEEPS) -> Row:
    return Row(name, sent, 200, then, heard or (b" /x HTTP/1.1\r\n",))


def target(sent: str, heard: str) -> Row:
    return passes(
        f"target {sent!a}",
        request(sent),
        f"GET {heard} HTTP/1.1\r\n".encode("utf-8", "surrogateescape"),
    )


SMUGGLING = [
    refused("length and chunked", post("Content-Length: 3", CHUNKED, body=BODY)),
    refused("chunked and length", post(CHUNKED, "Content-Length: 3", body=BODY)),
    refused("two unequal lengths", post("Content-Length: 3", "Content-Length: 4", body=b"abcd")),
    refused("two equal lengths", post("Content-Length: 3", "Content-Length: 3", body=b"abc")),
    refused("list of lengths", post("Content-Length: 3, 3", body=b"abc")),
    *(
        refused(f"length {length!r}", post(f"Content-Length: {length}", body=b"abc"))
        for length in ("+3", "-3", "0x3", "3 3", "", "3.0", "three", "\u0663", "9" * 30)
    ),
    *(
        refused(f"coding {coding!r}", post(f"Transfer-Encoding: {coding}", body=BODY))
        for coding in (
            "identity",
            "chunked, identity",
            "chunked, chunked",
            "identity, chunked",
            "gzip, chunked",
            "gzip",
            "xchunked",
            "chunkedx",
            "chunked;q=1",
            '"chunked"',
            "\x0bchunked",
            "chunked\x00",
            "",
        )
    ),
    refused("two codings", post("Transfer-Encoding: identity", CHUNKED, body=BODY)),
    refused("chunked twice", post(CHUNKED, CHUNKED, body=BODY)),
    refused("coding in HTTP/1.0", post(CHUNKED, body=BODY, version="1.0")),
    refused("folded field", request("/raw/x", "X: a\r\n b")),
    refused("folded coding", post("Transfer-Encoding:\r\n chunked", body=BODY)),
    refused("space before the colon", post("Content-Length : 3", body=b"abc")),
    refused("tab before the colon", post("Transfer-Encoding\t: chunked", body=BODY)),
    refused("space before the first field", request(host=" Host: h\r\n")),
    refused("bare CR in a value", request("/raw/x", "X: a\rb")),
    refused("bare CR before a field", request("/raw/x", "X: a\rTransfer-Encoding: chunked")),
    refused("bare LF between fields", b"GET /raw/x HTTP/1.1\r\nHost: h\nX: y\r\n\r\n"),
    refused("bare LF throughout", b"GET /raw/x HTTP/1.1\nHost: h\n\n"),
    refused("NUL in a value", request("/raw/x", "X: a\x00b")),
    refused("NUL in a name", request("/raw/x", "X\x00: a")),
    refused("control in a value", request("/raw/x", "X: a\x01b")),
    refused("no name", request("/raw/x", ": a")),
    refused("no colon", request("/raw/x", "X")),
    refused("no token as name", request("/raw/x", "X(y): a")),
    refused("non-ASCII name", request("/raw/x", "Xé: a")),
    refused("no host", request(host="")),
    refused("two hosts", request("/raw/x", "Host: i")),
    refused("space in the target", request("/raw/a b")),
    refused("no target", b"GET HTTP/1.1\r\nHost: h\r\n\r\n"),
    refused("HTTP/0.9", b"GET /raw/x\r\n\r\n"),
    refused("HTTP/2 by prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    refused("HTTP/3.7", request(version="3.7")),
    refused("method in small letters", request(method="get")),
    refused("unknown method", request(method="BREW")),
    refused("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32 + b"\r\n\r\n"),
    refused("no HTTP", b"EHLO mail.example\r\n\r\n"),
]
LIMITS = [
    refused("long request line", request("/raw/" + "a" * 17_000), 431),
    refused("long field", request("/raw/x", "X: " + "a" * 17_000), 431),
    refused("long name", request("/raw/x", "a" * 17_000 + ": x"), 431),
    refused("many fields", request("/raw/x", *(f"X-{n}: a" for n in range(200))), 431),
    passes(
        "fields within the limit",
        request("/raw/x", "X: " + "a" * 15_000, *(f"X-{n}: a" for n in range(100))),
    ),
    refused("declared too large", post("Content-Length: 8388609"), 413),
]
CHUNKS = [
    passes("chunks", post(CHUNKED, body=BODY), b"Content-Length: 3\r\n", b"\r\n\r\nabc"),
    passes("coding in capitals", post("Transfer-Encoding: CHUNKED", body=BODY), b"\r\n\r\nabc"),
    passes("coding behind a tab", post("Transfer-Encoding:\tchunked", body=BODY), b"\r\n\r\nabc"),
    passes("extensions", post(CHUNKED, body=b'3;a=b;c="d"\r\nabc\r\n0;e\r\n\r\n'), b"\r\n\r\nabc"),
    passes(
        "zeros before the size", post(CHUNKED, body=b"0003\r\nabc\r\n000\r\n\r\n"), b"\r\n\r\nabc"
    ),
    Row(
        "trailers are dropped",
        post(CHUNKED, "Trailer: X-End", body=b"3\r\nabc\r\n0\r\nX-End: 1\r\n\r\n"),
        200,
        KEEPS,
        (b"\r\n\r\nabc",),
        (b"X-End", b"railer"),
    ),
    refused("length as a trailer", post(CHUNKED, body=BODY[:-2] + b"Content-Length: 9\r\n\r\n")),
    *(
        refused(f"chunk {chunk!r}", post(CHUNKED, body=chunk))
        for chunk in (
            b"xyz\r\nabc\r\n0\r\n\r\n",
            b"+3\r\nabc\r\n0\r\n\r\n",
            b"-3\r\nabc\r\n0\r\n\r\n",
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b"3 \r\nabc\r\n0\r\n\r\n",
            b" 3\r\nabc\r\n0\r\n\r\n",
            b"3\nabc\n0\n\n",
            b"3\r\nabcdef\r\n0\r\n\r\n",
            b"3;a\nb\r\nabc\r\n0\r\n\r\n",
            b"\r\nabc\r\n0\r\n\r\n",
            b"FFFFFFFFFFFFFFFFFF\r\nabc",
            b"3\r\nabc\r\n0\r\nX: a\x00\r\n\r\n",
            b"3\r\nabc\r\n0\r\n folded\r\n\r\n",
        )
    ),
    refused("chunk of 4 GiB that never comes", post(CHUNKED, body=b"FFFFFFFF\r\nabc"), 408),
    refused("last chunk that never comes", post(CHUNKED, body=b"3\r\nabc\r\n"), 408),
    refused("body that never comes", post("Content-Length: 3", body=b"ab"), 408),
]
TARGETS = [
    target("/raw/%7E", "/%7E"),
    target("/raw/a/../b", "/a/../b"),
    target("/raw/../b", "/../b"),
    target("/raw/./a", "/./a"),
    target("/raw//a", "//a"),
    target("/raw/a%2Fb%00%ZZ%", "/a%2Fb%00%ZZ%"),
    target("/raw/a?", "/a?"),
    target("/raw/a?b=%20&&c=/../?d", "/a?b=%20&&c=/../?d"),
    target("/raw/a;b=c,d|e^f`{g}", "/a;b=c,d|e^f`{g}"),
    target('/raw/"<>\\', '/"<>\\'),
    target("/raw/a?b#c", "/a?b#c"),
    refused("path that is not ASCII (RFC 3986 2)", request("/raw/é")),
    refused("path that is no UTF-8", request("/raw/\udcff\udcfe?\udc80")),
    target("http://other.example/raw/a?b", "/a?b"),
    target("HTTPS://other.example:8443/raw", "/"),
    target("http://other.example/raw?b", "/?b"),
    refused("absolute form without a path", request("http://other.example"), 404),
    refused("absolute form of another scheme", request("ftp://other.example/raw/x"), 400),
    refused("no path", request("raw/x"), 400),
    refused("asterisk for GET", request("*"), 400),
    Row("asterisk for OPTIONS", request("*", method="OPTIONS"), 204, KEEPS),
    refused("CONNECT", request("raw:443", method="CONNECT"), 501),
    refused("CONNECT with a path", request("/raw/x", method="CONNECT"), 501),
    refused("TRACE, which would show the upstream's credentials", request(method="TRACE"), 501),
    refused("unknown target", request("/nowhere/x"), 404),
    refused("unknown target, not UTF-8", request("/\udcff/x")),
]
METHODS = [
    *(
        Row(f"method {method}", request(method=method), 200, KEEPS, (f"{method} /x ".encode(),))
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "PURGE")
    ),
    Row(
        "HEAD",
        request(method="HEAD"),
        200,
        KEEPS,
        (b"HEAD /x ",),
        answered=(b"Content-Length: 2",),
        to_head=True,
    ),
    passes("line ends before the request", b"\r\n\r\n" + request()),
    passes("request byte by byte", b"", b"GET /x ", b"X: y"),
    passes("body with GET", request("/raw/x", "Content-Length: 3", body=b"abc"), b"\r\n\r\nabc"),
    Row("POST without a length has no body", post(), 200, KEEPS, (b"Content-Length: 0\r\n",)),
]
FIELDS = [
    passes(
        "bytes that are no UTF-8",
        request("/raw/x", "X: \udcff\udcfe\udc00".replace("\udc00", "é")),
        b"X: \xff\xfe\xc3\xa9\r\n",
    ),
    passes("empty value", request("/raw/x", "X:"), b"X: \r\n"),
    passes("blanks around a value", request("/raw/x", "X: \t a b \t"), b"X: a b\r\n"),
    passes("duplicates", request("/raw/x", "X: 1", "Y: 2", "x: 3"), b"X: 1\r\nY: 2\r\nX: 3\r\n"),
    Row(
        "hop-by-hop fields",
        request(
            "/raw/x",
            "Connection: X-Hop, Authorization",
            "X-Hop: 1",
            "Authorization: 2",
            "Keep-Alive: 3",
            "Proxy-Authorization: 4",
            "Proxy-Connection: 5",
            "TE: trailers",
            "Upgrade: h2c",
            "X-Rampway-Shadow: 1",
            "X-End: e",
        ),
        200,
        KEEPS,
        (b"X-End: e",),
        (b"Hop", b"uthorization", b"Alive", b"Proxy", b"TE:", b"pgrade", b"ampway", b"Connection"),
    ),
    Row(
        "an upgrade is answered as a plain request",
        request(
            "/raw/x",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ),
        200,
        KEEPS,
        (b"GET /x ",),
        (b"pgrade",),
    ),
    passes("Connection: close", request("/raw/x", "Connection: close"), then=CLOSES),
    passes(
        "an expectation that is none", post("Expect: tea", "Content-Length: 3", body=b"abc"), b"abc"
    ),
    Row(
        "HTTP/1.0 closes",
        request(version="1.0"),
        200,
        CLOSES,
        (b"GET /x HTTP/1.1\r\n",),
        not_answered=(b"chunked", b"aiohttp"),
    ),
    Row(
        "HTTP/1.0 is kept where it is asked for",
        request("/raw/x", "Connection: keep-alive", version="1.0"),
        200,
        KEEPS,
        (b"GET /x HTTP/1.1\r\n",),
        answered=(b"\r\nConnection: keep-alive\r\n",),
    ),
    passes("HTTP/1.0 without a host", request(version="1.0", host=""), then=CLOSES),
    Row(
        "HTTP/1.0 is not told to continue",
        post("Expect: 100-continue", "Content-Length: 3", version="1.0", body=b"abc"),
        200,
        CLOSES,
        (b"abc",),
    ),
]
ROWS = [*SMUGGLING, *LIMITS, *CHUNKS, *TARGETS, *METHODS, *FIELDS]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_each_request_has_its_answer(plane: RawPlane, row: Row) -> None:
    sent = [row.sent] if isinstance(row.sent, bytes) else row.sent
    if row.name == "request byte by byte":
        whole = request("/raw/x", "X: y")
        sent = [whole[at : at + 1] for at in range(len(whole))]

    async with connection(plane.port) as (reader, writer):
        await send(writer, sent)
        answer = await read_answer(reader, to_head=row.to_head)

        assert answer is not None
        assert answer.status == row.status, answer
        assert answer.whole
        assert all(part in answer.head for part in row.answered)
        assert not any(part in answer.head + answer.body for part in row.not_answered)
        if row.then == CLOSES:
            assert await is_closed(reader)
        else:
            writer.write(request("/raw/again"))
            again = await read_answer(reader)
            assert again is not None
            assert again.body == b"ok"
            assert plane.upstream.heard.pop().startswith(b"GET /again ")
    if row.heard:
        [heard] = plane.upstream.heard
        assert all(part in heard for part in row.heard), heard
        assert not any(part in heard for part in row.not_heard), heard
    else:
        assert plane.upstream.heard == []
