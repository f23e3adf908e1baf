"""Ways to damage a file: blind ones for any bytes, and some that know the format and reach what blind ones do not.

Every mutation is a function of (bytes, other bytes of the same kind, random generator), so that an input is told by
its target, the seed and a number.
"""

import contextlib
import io
import json
import pickle
import pickletools
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import yaml

#: Longest input that is made.
MAX_BYTES = 3_000_000

Mutation = Callable[[bytes, bytes, np.random.Generator], bytes]

#: What counts, lengths and offsets break at.
_EXTREMES = [0, 1, 2, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1]

_NUMBERS = "0 -1 1 3 1e9 99999999 2147483648 18446744073709551616 -0.0001 1e-300 1e308 1e999 nan inf 0x1p9 ٣ ½".split()

_TEXTS = [
    "",
    " ",
    "\x00",
    "\x1b[2J\x1b]0;title\x07",
    "a\nsecond line",
    "../../etc/passwd",
    "%s%n{0}{{}}",
    "\ud7ff\ufffe",
    "é" * 500,
    "9" * 5000,
    "{{ 7 * 7 }}",
    "__class__",
]

_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**400,
    1e308,
    [],
    {},
    [[]],
    {"a": {"b": []}},
    *_TEXTS,
]

#: Marks in any text; the canary's folder takes the place of this word before an input is read.
CANARY = "CANARY-FOLDER"

_YAML_ATTACKS = [
    f"!!python/object/apply:os.mkdir ['{CANARY}']",
    f"!!python/object/new:os.mkdir ['{CANARY}']",
    "!!python/name:os.system",
    "!!python/module:antigravity",
    "!!binary 'not base64'",
    "!!timestamp 2001-99-99",
    "2001-13-45 99:99:99",
    "!!int '0x'",
    "!!float 'x'",
    "!!set {a, b}",
    "!!omap [a]",
    "&x [*x]",
    "*unknown",
    "{[a, b]: c}",
    "{<<: 1}",
    "0b2",
    "1:99:99",
    "'\\ud800'",
]


def mutate(data: bytes, others: list[bytes], dialect: str, rng: np.random.Generator) -> bytes:
    """Return a damaged copy.

    Parameters
    ----------
    data : bytes
        A file that can be read.
    others : list of bytes
        Files of the same kind, to take pieces from.
    dialect : str
        A key of `DIALECTS`.
    rng : Generator
    """
    ways = DIALECTS[dialect]
    for _ in range(int(rng.integers(1, 4))):
        way = ways[int(rng.integers(len(ways)))]
        donor = others[int(rng.integers(len(others)))]
        data = way(data, donor, rng)[:MAX_BYTES]
    return data


def _place(data: bytes, rng: np.random.Generator) -> int:
    """Return a place; half of them in the first kilobyte, where headers are."""
    end = min(len(data), 1024) if rng.random() < 0.5 else len(data)
    return int(rng.integers(max(end, 1)))


def flip_bits(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    for _number in range(int(rng.integers(1, 9)) if out else 0):
        out[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(out)


def set_bytes(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    out, place = bytearray(data), _place(data, rng)
    out[place : place + int(rng.integers(1, 9))] = rng.bytes(int(rng.integers(1, 9)))
    return bytes(out)


def truncate(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    return data[: _place(data, rng)]


def delete_block(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    place = _place(data, rng)
    return data[:place] + data[place + int(rng.integers(1, 200)) :]


def insert_block(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    place, size = _place(data, rng), int(rng.integers(1, 300))
    block = rng.bytes(size) if rng.random() < 0.5 else bytes([int(rng.integers(256))]) * size
    return data[:place] + block + data[place:]


def repeat_block(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    place = _place(data, rng)
    return data[:place] + data[place : place + int(rng.integers(1, 100))] * int(rng.integers(2, 200)) + data[place:]


def splice(data: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    return data[: _place(data, rng)] + donor[_place(donor, rng) :]


def set_extreme(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    """Put an extreme where a length may be."""
    size, order = int(rng.choice([1, 2, 4, 8])), str(rng.choice(["little", "big"]))
    value = _EXTREMES[int(rng.integers(len(_EXTREMES)))] % 256**size
    place = _place(data, rng) // 4 * 4 if rng.random() < 0.5 else _place(data, rng)
    return data[:place] + value.to_bytes(size, "big" if order == "big" else "little") + data[place + size :]


def set_number(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    """Replace a number that is written in digits; headers of EDF keep their width."""
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?", data[:20_000]))
    if not found:
        return data
    match = found[int(rng.integers(len(found)))]
    text = _NUMBERS[int(rng.integers(len(_NUMBERS)))].encode()
    if rng.random() < 0.5:
        text = text.ljust(len(match.group()))[: len(match.group())]
    return data[: match.start()] + text + data[match.end() :]


def insert_text(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    place = _place(data, rng)
    return data[:place] + _TEXTS[int(rng.integers(len(_TEXTS)))].encode("utf-8", "surrogatepass") + data[place:]


def shuffle_lines(data: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    """Drop, repeat or exchange a line."""
    lines, other = data.splitlines(keepends=True), donor.splitlines(keepends=True)
    if not lines:
        return data
    at = int(rng.integers(len(lines)))
    match int(rng.integers(3)):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[int(rng.integers(len(lines)))])
        case _:
            lines[at] = other[int(rng.integers(len(other)))] if other else b""
    return b"".join(lines)


def mutate_pickle(data: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    """Drop, repeat or exchange opcodes, or put an attack between two."""
    pieces, others = _cut_opcodes(data), _cut_opcodes(donor)
    if not pieces or not others:
        return data
    at = int(rng.integers(len(pieces)))
    match int(rng.integers(5)):
        case 0:
            del pieces[at]
        case 1:
            pieces.insert(at, pieces[int(rng.integers(len(pieces)))])
        case 2:
            pieces[at] = others[int(rng.integers(len(others)))]
        case 3:
            pieces[at] = bytes([int(rng.integers(256))]) + pieces[at][1:]
        case _:
            pieces.insert(at, _attack_pickle(rng))
    return b"".join(pieces)


def _cut_opcodes(data: bytes) -> list[bytes]:
    places = []
    with contextlib.suppress(Exception):  # a pickle that is damaged already is cut as far as it goes
        places = [place for _, _, place in pickletools.genops(data) if place is not None]
    return [data[here:there] for here, there in pairwise([*places, len(data)])]


def _attack_pickle(rng: np.random.Generator) -> bytes:
    target = CANARY.encode()
    attacks = [
        b"cos\nmkdir\n(V" + target + b"\ntR",
        b"cposix\nmkdir\n(V" + target + b"\ntR",
        b"cbuiltins\nexec\n(V__import__('os').mkdir('" + target + b"')\ntR",
        b"(cos\nmkdir\nV" + target + b"\no",
        b"(V" + target + b"\nios\nmkdir\n",
        b"\x8c\x02os\x8c\x05mkdir\x93\x8c" + bytes([len(target)]) + target + b"\x85R",
        b"cnumpy\nfromfile\n(V/dev/zero\ntR",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I999999999\ntVb\ntR",
        b"(" * 500,
        b"2" * 2000,
        pickle.LONG4 + struct.pack("<i", 2**30),
        pickle.BINUNICODE8 + struct.pack("<Q", 2**62),
    ]
    return attacks[int(rng.integers(len(attacks)))]


def mutate_json(data: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    """Change the tree that is written in a JSON text, or nest it deeply."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return flip_bits(data, donor, rng)
    if rng.random() < 0.05:
        return b'{"a":[' * 50_000
    if rng.random() < 0.05:
        return data.rstrip().rstrip(b"}") + b', "repeated": NaN, "repeated": Infinity}'
    text = json.dumps(_change_tree(tree, rng), ensure_ascii=bool(rng.random() < 0.5))
    return text.encode("utf-8", "surrogatepass")


def mutate_yaml(data: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    """Change the tree that is written in YAML, or put one of its traps in place of a value."""
    kind = rng.random()
    if kind < 0.3:
        values = list(re.finditer(rb"(?<=: )[^\n,}]+", data))
        if values:
            match = values[int(rng.integers(len(values)))]
            attack = _YAML_ATTACKS[int(rng.integers(len(_YAML_ATTACKS)))].encode()
            return data[: match.start()] + attack + data[match.end() :]
    if kind < 0.35:
        return b"name: " + b"[" * 5000 + data
    if kind < 0.4:
        bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        bomb += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
        return "\n".join(bomb).encode() + b"\n" + data
    if b"&a0" in data:  # a bomb is not to go off here
        return flip_bits(data, donor, rng)
    try:
        tree = _change_tree(yaml.safe_load(data), rng)
        return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")
    except Exception:  # noqa: BLE001  (a file that is damaged already)
        return flip_bits(data, donor, rng)


def _change_tree(tree: Any, rng: np.random.Generator) -> Any:
    """Return the tree with one node dropped, exchanged, wrapped or renamed."""
    places = list(_list_places(tree))
    if not places:
        return _VALUES[int(rng.integers(len(_VALUES)))]
    owner, key = places[int(rng.integers(len(places)))]
    value = _VALUES[int(rng.integers(len(_VALUES)))]
    match int(rng.integers(5)):
        case 0:
            del owner[key]
        case 1 | 2:
            owner[key] = value
        case 3:
            owner[key] = [owner[key]] * int(rng.integers(1, 4))
        case _ if isinstance(owner, dict):
            owner[str(value)] = owner[key]
        case _:
            owner.extend([value] * int(rng.integers(1, 2000)))
    return tree


def _list_places(tree: Any) -> Any:
    children: Any = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in children:
        yield tree, key
        yield from _list_places(value)


def mutate_zip(data: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    """Damage one member of an archive and pack it again, with sums that fit; or make it a bomb."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as source:
            members = {item.filename: source.read(item) for item in source.infolist()}
    except Exception:  # noqa: BLE001  (an archive that is damaged already)
        return flip_bits(data, donor, rng)
    names = sorted(members)
    name = names[int(rng.integers(len(names)))]
    if rng.random() < 0.04:
        members[name] = b"<a>" + b" " * 40_000_000
    elif rng.random() < 0.08:
        members[name] = _xml_bomb()
    elif rng.random() < 0.1:
        del members[name]
    else:
        ways = [flip_bits, set_number, shuffle_lines, delete_block, insert_text, repeat_block]
        members[name] = ways[int(rng.integers(len(ways)))](members[name], members[name], rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for key, value in members.items():
            target.writestr(zipfile.ZipInfo(key, (2023, 1, 1, 0, 0, 0)), value, zipfile.ZIP_DEFLATED, 1)
    return buffer.getvalue()


def _xml_bomb() -> bytes:
    names = "abcdefghij"
    entities = [f'<!ENTITY {names[0]} "lolololololololololol">']
    entities += [f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip(names, names[1:], strict=False)]
    return f'<?xml version="1.0"?><!DOCTYPE x [{"".join(entities)}]><x>&{names[-1]};</x>'.encode()


def mutate_mat(data: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    """Unpack a compressed element of a MATLAB 5 file, damage it, pack it again."""
    place, found = 128, []
    while place + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, place)
        if kind == 15:
            found.append((place, size))
        place += 8 + size + (0 if kind == 15 else -size % 8)
    if not found:
        return set_extreme(data, donor, rng)
    place, size = found[int(rng.integers(len(found)))]
    try:
        body = zlib.decompress(data[place + 8 : place + 8 + size])
    except zlib.error:
        return set_extreme(data, donor, rng)
    ways = [flip_bits, set_extreme, set_extreme, delete_block, insert_block, truncate]
    packed = zlib.compress(ways[int(rng.integers(len(ways)))](body, body, rng), 1)
    return data[:place] + struct.pack("<II", 15, len(packed)) + packed + data[place + 8 + size :]


def mutate_safetensors(data: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    """Change the JSON header of a safetensors file and its length with it."""
    length = int.from_bytes(data[:8], "little")
    if length > len(data) - 8:
        return set_extreme(data, donor, rng)
    header = mutate_json(data[8 : 8 + length], donor, rng)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


_BLIND: list[Mutation] = [
    flip_bits,
    set_bytes,
    truncate,
    delete_block,
    insert_block,
    repeat_block,
    splice,
    set_extreme,
    set_number,
    insert_text,
]

#: What may be done to a file: the blind ways once, those that know the format as often as all of them together.
DIALECTS: dict[str, list[Mutation]] = {
    "binary": [*_BLIND, *[set_extreme] * 4, *[flip_bits] * 2],
    "text": [*_BLIND, *[shuffle_lines] * 4, *[set_number] * 4],
    "pickle": [*_BLIND, *[mutate_pickle] * 10],
    "json": [*_BLIND, *[mutate_json] * 10],
    "yaml": [*_BLIND, shuffle_lines, *[mutate_yaml] * 10],
    "zip": [*_BLIND, *[mutate_zip] * 10],
    "mat": [*_BLIND, *[mutate_mat] * 10],
    "safetensors": [*_BLIND, *[mutate_safetensors] * 10],
}
