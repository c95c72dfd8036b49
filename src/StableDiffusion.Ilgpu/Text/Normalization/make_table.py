"""Writes normalization.bin, the data of Unicode's canonical composition (NFC), from Python's own Unicode data.

    python3 make_table.py normalization.bin

Needs Python 3 alone. README.md describes the format.
"""

import struct
import sys
import unicodedata

HANGUL_SYLLABLES = range(0xAC00, 0xD7A4)  # follow from a rule


def main(target):
    composites, decompositions, runs = [], [], []
    for code in range(0x110000):
        character = chr(code)
        mapping = unicodedata.decomposition(character)
        if mapping and not mapping.startswith("<") and code not in HANGUL_SYLLABLES:  # <...> marks compatibility mappings
            parts = [int(part, 16) for part in mapping.split()]
            composes = unicodedata.normalize("NFC", character) == character
            assert len(parts) == 2 if composes else len(parts) <= 2, f"U+{code:04X} has {len(parts)} parts"
            (composites if composes else decompositions).append((code, *parts, 0)[:3])

        combining_class = unicodedata.combining(character)
        if combining_class:
            if runs and runs[-1][0] + runs[-1][1] == code and runs[-1][2] == combining_class:
                runs[-1][1] += 1
            else:
                runs.append([code, 1, combining_class])

    sections = (composites, decompositions, runs)
    with open(target, "wb") as file:
        file.write(struct.pack("<3I", *map(len, sections)))
        for section in sections:
            for record in section:
                file.write(struct.pack("<3I", *record))
    print(f"Unicode {unicodedata.unidata_version}: {len(composites)} composites, {len(decompositions)} other decompositions, "
          f"{len(runs)} runs of combining classes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_table.py normalization.bin")
    main(sys.argv[1])
