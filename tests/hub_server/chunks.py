"""Large files over Xet: groups of chunks (xorbs), and shards that say which chunks make which file.

The layout of both follows the published Xet protocol. Files are put together when their shard arrives, so that the
sha256 that a commit will name is known to be true, and so that plain HTTP clients can read them as well.
"""

import hashlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tests.hub_server.http import REPO, Answer, Request, cut, reply, route
from tests.hub_server.store import Refusal, Store

_HASH = r"(?P<xorb>[0-9a-f]{64})"
_ENTRY = 48
_VERIFIED, _WITH_SHA256 = 1 << 31, 1 << 30


@dataclass(frozen=True)
class Chunk:
    """One chunk inside a xorb: where its bytes are (header included), how they are packed, how many they become."""

    start: int
    end: int
    scheme: int
    size: int


@route("GET", rf"{REPO}/xet-(?P<access>read|write)-token/(?P<revision>[^/]+)")
def give_token(request: Request, kind: str, name: str, access: str, revision: str) -> Answer:
    """Give a token for the store of chunks. The revision may be ``None`` when a pull request is about to be made."""
    if not request.hub.xet:
        raise Refusal(404, "Xet is not enabled")
    write = access == "write"
    if write:
        request.need_user()
    repo = request.find(kind, name, write=write and not request.argument("create_pr"))
    if not write:
        request.need_access(repo)
    token = f"xet-{access}-{len(request.hub.store.xet_tokens)}"
    request.hub.store.xet_tokens[token] = (access, f"{kind} {name}")
    url, expires = request.hub.url, 4_000_000_000
    headers = {"X_Xet_Cas_Url": url, "X_Xet_Access_Token": token, "X_Xet_Token_Expiration": str(expires)}
    return reply({"casUrl": url, "exp": expires, "accessToken": token}, **headers)


@route("GET", rf"/v1/chunks/[\w-]+/{_HASH}")
def find_chunk(request: Request, xorb: str) -> Answer:
    """Answer that no chunk is known from elsewhere: everything is sent at least once to this server."""
    _need_token(request, "write")
    raise Refusal(404, "not deduplicated globally")


@route("POST", rf"/v1/xorbs/[\w-]+/{_HASH}")
def take_xorb(request: Request, xorb: str) -> Answer:
    _need_token(request, "write")
    if not list(list_chunks(request.body)):
        raise Refusal(400, "a xorb without chunks")
    inserted = xorb not in request.hub.store.xorbs
    request.hub.store.xorbs[xorb] = request.body
    return reply({"was_inserted": inserted})


@route("POST", r"/v1/shards")
def take_shard(request: Request) -> Answer:
    """Put the files of a shard together and check each against its sha256."""
    kind, name = _need_token(request, "write").split(" ")
    store, repo = request.hub.store, request.hub.repo(kind, name)
    for xet, sha256, terms in read_shard(request.body):
        data = b"".join(unpack(store, term) for term in terms)
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise Refusal(400, "the chunks do not make the file that was announced")
        store.xet_files[xet] = terms
        repo.objects[sha256], repo.xet_hashes[sha256] = data, xet
    return reply({"result": 1})


@route("POST", r"/v1/telemetry")
def take_telemetry(request: Request) -> Answer:
    return Answer(204)


@route("GET", r"/v1/reconstructions/(?P<xet>[0-9a-f]{64})")
def reconstruct(request: Request, xet: str) -> Answer:
    """Say which chunks make a file, or the asked range of it, and where their bytes are."""
    _need_token(request, "read")
    if xet not in request.hub.store.xet_files:
        raise Refusal(404, "unknown file")
    terms, skipped = _select(request, request.hub.store.xet_files[xet])
    spans: dict[str, list[tuple[int, int]]] = {}
    for xorb, first, end, _ in terms:
        spans.setdefault(xorb, []).append((first, end))
    rows = [
        {"hash": xorb, "unpacked_length": size, "range": {"start": first, "end": end}}
        for xorb, first, end, size in terms
    ]
    fetch = {xorb: [_place(request, xorb, span) for span in merge_spans(found)] for xorb, found in spans.items()}
    return reply({"offset_into_first_range": skipped, "terms": rows, "fetch_info": fetch})


@route("GET", rf"/xorbs/{_HASH}")
def send_xorb(request: Request, xorb: str) -> Answer:
    return cut(request, request.hub.store.xorbs[xorb])


def _need_token(request: Request, access: str) -> str:
    known, repo = request.hub.store.xet_tokens.get(request.token, ("", ""))
    if not known or (access == "write" and known != "write"):
        raise Refusal(401, "unknown or insufficient Xet token")
    return repo


def _select(request: Request, terms: list[tuple[str, int, int, int]]) -> tuple[list[tuple[str, int, int, int]], int]:
    """Return the terms that cover the asked range, and how far into the first one it begins."""
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range") or "")
    if not match:
        return terms, 0
    first, last, position, chosen, skipped = int(match[1]), int(match[2]), 0, [], 0
    for term in terms:
        if position <= last and position + term[3] > first:
            skipped = skipped if chosen else max(0, first - position)
            chosen.append(term)
        position += term[3]
    if not chosen:
        raise Refusal(416, "range beyond the end of the file")
    return chosen, skipped


def merge_spans(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join spans of chunks that overlap or touch: the client expects each chunk of a xorb in one place."""
    merged: list[tuple[int, int]] = []
    for first, end in sorted(spans):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((first, end))
    return merged


def _place(request: Request, xorb: str, span: tuple[int, int]) -> dict[str, object]:
    chunks = list(list_chunks(request.hub.store.xorbs[xorb]))[span[0] : span[1]]
    return {
        "range": {"start": span[0], "end": span[1]},
        "url": f"{request.hub.url}/xorbs/{xorb}",
        "url_range": {"start": chunks[0].start, "end": chunks[-1].end - 1},
    }


def list_chunks(xorb: bytes) -> Iterator[Chunk]:
    """Walk through a xorb: each chunk has a header of version, packed size, scheme and size; a footer may follow."""
    place = 0
    while place + 8 <= len(xorb) and xorb[place : place + 7] != b"XETBLOB":
        packed, size = (
            int.from_bytes(xorb[place + 1 : place + 4], "little"),
            int.from_bytes(xorb[place + 5 : place + 8], "little"),
        )
        end = place + 8 + packed
        if xorb[place] != 0 or end > len(xorb):
            raise Refusal(400, "not a xorb")
        yield Chunk(place, end, xorb[place + 4], size)
        place = end


def unpack(store: Store, term: tuple[str, int, int, int]) -> bytes:
    """Return the bytes of a term."""
    xorb = store.xorbs.get(term[0])
    if xorb is None:
        raise Refusal(400, "a shard names a xorb that was never uploaded")
    data = b"".join(_unpack_chunk(xorb[c.start + 8 : c.end], c) for c in list(list_chunks(xorb))[term[1] : term[2]])
    if len(data) != term[3]:
        raise Refusal(400, "a term of a shard has another length than its chunks")
    return data


def _unpack_chunk(data: bytes, chunk: Chunk) -> bytes:
    if chunk.scheme == 0:
        return data
    import pyarrow as pa  # only for clients that compress: its codec "lz4" is the LZ4 frame

    plain = bytes(pa.decompress(data, chunk.size, codec="lz4", asbytes=True))
    return plain if chunk.scheme == 1 else _ungroup(plain)


def _ungroup(data: bytes) -> bytes:
    """Undo the grouping by fours: all first bytes come first, then all second ones, and so on."""
    out, place = bytearray(len(data)), 0
    for lane in range(4):
        size = len(range(lane, len(data), 4))
        out[lane::4] = data[place : place + size]
        place += size
    return bytes(out)


def read_shard(data: bytes) -> Iterator[tuple[str, str, list[tuple[str, int, int, int]]]]:
    """Yield xet hash, sha256 and terms (xorb, first chunk, end chunk, bytes) of every file of a shard."""
    place = _ENTRY
    while place + _ENTRY <= len(data) and data[place : place + 32] != b"\xff" * 32:
        flags, count = struct.unpack_from("<II", data, place + 32)
        xet, place = read_hash(data[place : place + 32]), place + _ENTRY
        terms = []
        for _ in range(count):
            _, size, first, end = struct.unpack_from("<IIII", data, place + 32)
            terms.append((read_hash(data[place : place + 32]), first, end, size))
            place += _ENTRY
        place += _ENTRY * count if flags & _VERIFIED else 0
        sha256 = read_hash(data[place : place + 32]) if flags & _WITH_SHA256 else ""
        place += _ENTRY if flags & _WITH_SHA256 else 0
        yield xet, sha256, terms


def read_hash(data: bytes) -> str:
    """Return a hash as text: each group of eight bytes is written backwards."""
    return "".join(data[place : place + 8][::-1].hex() for place in range(0, 32, 8))
