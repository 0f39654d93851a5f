"""Compares `lamp tokenize` with Hugging Face's tokenizers, kind by kind, on as many texts as are asked for.

    python3 -m venv build/venv && build/venv/bin/pip install tokenizers sentencepiece && build/venv/bin/python tools/compare_tokenizers.py [--texts N] [--lamp PATH] [KIND...]

Text that is no UTF-8 cannot be given to that library. What equality means there: for vocabularies of bytes, its ids of each stretch of UTF-8 and
of the bytes between, in turn; for those of characters, its ids of the text with each such byte replaced by a character that has no token,
whose bytes' tokens are then that byte's.
"""

import argparse
import pathlib
import random
import subprocess
import tempfile

import tokenizer_kinds
from tokenizers import pre_tokenizers

STAND_IN = 0x10FE00
PREFIXED = ("gpt2_prefix", "metaspace", "forms", "behaviors", "gemma")  # text behind broken bytes would be given a prefix, or cut differently
SHOWN_OTHERWISE = ("gpt2_prefix", "added", "some_bytes")  # added tokens: the library shows them normalised, and reads their letters as spelt bytes


def lamp_ids(lamp, path, texts, special):
    given = b"".join(text + b"\0" for text in texts)
    done = subprocess.run([lamp, "tokenize", path, "--null", "--special", special], input=given, stdout=subprocess.PIPE, check=True)
    return [[int(word) for word in line.split()] for line in done.stdout.decode().split("\n")[:-1]]


def report(kind, what, texts, ours, theirs):
    wrong = [i for i in range(len(texts)) if ours[i] != theirs[i]]
    print(f"{kind:14} {what:22} {len(texts):8} texts, {sum(map(len, theirs)):9} ids, {len(wrong)} texts differ", flush=True)
    for i in wrong[:3]:
        at = next((j for j, (a, b) in enumerate(zip(ours[i], theirs[i])) if a != b), min(len(ours[i]), len(theirs[i])))
        print(f"    {texts[i][:300]!r}\n    from id {at}: {ours[i][at:at + 8]}, expected {theirs[i][at:at + 8]}")
    return len(wrong) + (len(ours) != len(theirs))


def break_text(draw, text):
    """Bytes put in, taken out, or characters cut."""
    broken = bytearray(text.encode())
    for _ in range(draw.randint(1, 4)):
        at = draw.randint(0, len(broken))
        broken[at:at + draw.choice([0, 0, 1])] = draw.choice([b"\xff", b"\x80", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xc0\xaf", b""])
    return bytes(broken).replace(b"\0", b"")


def stretches(broken):
    """(is UTF-8, bytes) in turn."""
    runs = []
    for character in broken.decode("utf-8", "surrogateescape"):
        valid = not 0xDC80 <= ord(character) <= 0xDCFF
        if not runs or runs[-1][0] != valid:
            runs.append((valid, ""))
        runs[-1] = (valid, runs[-1][1] + character)
    return [(valid, run.encode("utf-8", "surrogateescape")) for valid, run in runs]


def has_bytes(tokenizer):
    """As a vocabulary of bytes, not of characters."""
    return tokenizer.token_to_id("Ġ") is not None and "<0x00>" not in tokenizer.get_vocab()


def can_be_broken(kind, tokenizer):
    return kind not in PREFIXED and (has_bytes(tokenizer) or tokenizer.token_to_id("<0xFF>") is not None)


def ids_of_broken(tokenizer, broken):
    if has_bytes(tokenizer):
        ids = []
        for valid, run in stretches(broken):
            if valid:
                ids += tokenizer.encode(run.decode(), add_special_tokens=False).ids
            else:
                ids += [token.id for token in tokenizer.model.tokenize("".join(BYTES_SPELT[byte] for byte in run))]
        return ids
    shown = "".join(chr(STAND_IN + ord(c) - 0xDC00) if 0xDC80 <= ord(c) <= 0xDCFF else c for c in broken.decode("utf-8", "surrogateescape"))
    ids = tokenizer.encode(shown, add_special_tokens=False).ids
    byte_id = [tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in range(256)]
    names = {tuple(byte_id[b] for b in chr(STAND_IN + byte).encode()): byte_id[byte] for byte in range(0x80, 0x100)}
    result, i = [], 0
    while i < len(ids):
        found = names.get(tuple(ids[i:i + 4]))
        result.append(ids[i] if found is None else found)
        i += 1 if found is None else 4
    return result


def spelt_bytes():
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    prints = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelt, n = [], 0
    for byte in range(256):
        spelt.append(chr(byte) if byte in prints else chr(256 + n))
        n += byte not in prints
    assert level.pre_tokenize_str("é a")[0][0] == "".join(spelt[b] for b in "é a".encode())
    return spelt


BYTES_SPELT = spelt_bytes()


def compare(kind, folder, lamp, texts, broken):
    form, tokenizer = tokenizer_kinds.form_of(kind)
    path = folder / f"{kind}.json"
    path.write_text(form, encoding="utf-8")
    given = [text.encode() for text in texts]
    theirs = [one.ids for one in tokenizer.encode_batch(texts, add_special_tokens=False)]
    wrong = report(kind, "special tokens named", given, lamp_ids(lamp, path, given, "named"), theirs)
    theirs = [one.ids for one in tokenizer.encode_batch(texts[:2000], add_special_tokens=True)]
    wrong += report(kind, "with the template", given[:2000], lamp_ids(lamp, path, given[:2000], "all"), theirs)
    if can_be_broken(kind, tokenizer):
        theirs = [ids_of_broken(tokenizer, text) for text in broken]
        wrong += report(kind, "no UTF-8", broken, lamp_ids(lamp, path, broken, "named"), theirs)
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--lamp", default="build/lamp")
    parser.add_argument("kinds", nargs="*", default=[])
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    tokenizer_kinds.SIZES.update(bytes=3000, characters=3000, words=2000)
    texts = tokenizer_kinds.texts(arguments.texts, arguments.seed)
    broken = [break_text(draw, text) for text in texts[: arguments.texts // 10]]
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind in arguments.kinds or tokenizer_kinds.KINDS:
            wrong += compare(kind, pathlib.Path(folder), arguments.lamp, texts, broken)
    print(f"tokenizers {tokenizer_kinds.VERSION}: {wrong} differences")
    raise SystemExit(wrong > 0)


if __name__ == "__main__":
    main()
