"""Makes tests/golden/tokenizer: small tokenizers of every kind and the ids that Hugging Face's tokenizers gives for some texts; of the kinds that GGUF
has a name for, the same as GGUF files, which the package gguf writes as llama.cpp's converter calls it.

    python3 -m venv build/venv && build/venv/bin/pip install tokenizers sentencepiece gguf && build/venv/bin/python tools/golden_tokenizer.py

Never needed to build or test. compare_tokenizers.py compares on as many texts as one likes.
"""

import json
import pathlib
import random

import compare_tokenizers
import gguf
import tokenizer_kinds

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "tokenizer"

TEXTS = [
    "",
    "a",
    " ",
    "The router sends each token to a few experts, and the experts answer.",
    "int main(void) {\n    return status < 0 ? -status : 0;\n}\n",
    "a  b   c    d\t\te \t f",
    "one\ntwo\n\nthree\r\nfour\r\n\r\n  five\n ",
    "trailing spaces   ",
    "   leading spaces",
    "\n\n\n",
    " \n \n  x",
    "it's we've I'm they'll he'd can't you're IT'S WE'VE I'LL",
    "'s'tell 'sound 'dare \u2019s",
    "it'\u017f long s",
    "0 12 345 6789 1234567890 3.14159 -273.15e+10 1,000,000",
    "\u0663\u0664 \u00bd \u2167 \u00b2",
    "caf\u00e9 na\u00efve Stra\u00dfe \u00c5ngstr\u00f6m",
    "cafe\u0301 with a combining accent, e\u0301\u0302",
    "\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440, \u03ba\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u3053\u3093\u306b\u3061\u306f \uc548\ub155\ud558\uc138\uc694",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0928\u092e\u0938\u094d\u0924\u0947 \u0634\u0643\u0631\u0627",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7 \u2764\ufe0f",
    "\u00a0no\u00a0break\u2003em\u3000wide\u2028line\u2029paragraph\u0085next\u180evowel",
    "zero\u200bwidth \ufeff mark \u00adsoft",
    "nul \x00 bell \x07 escape \x1b delete \x7f unit \x1f",
    "!!! ... --- ??? #include <stdio.h> // a->b, x[i] = y[j] + 2 * z;",
    "https://example.org/a/b?c=d&e=%20f#g",
    "snake_case camelCase SCREAMING_CASE kebab-case",
    "a" * 100,
    "=" * 90,
    "abcdefghijklmnopqrstuvwxyz" * 4,
    " " * 100 + "x" + " " * 70,
    "\n" * 90,
    "\u00e9" * 80,
    "\U0010ffff \ue000 \ufffd \U000e0041",
    "\"quoted\" (parenthesised) [bracketed] {braced} <angled> `ticked` ~tilde^ $5 \u20ac7",
    # added tokens, and what looks like them
    "a<|endoftext|>b <|endoftext| >",
    "<s>a</s> <unk> <|im_start|>user\n<|im_end|>",
    " a <mask> b<mask>c \n<mask>\t<mask>",
    "a[WORD]b [WORD] [WORD]\u0301 \u200d[WORD] \U00013eb2[WORD] [WORD]",
    "[NORM] [norm] [Norm]  caf\u00e9   cafe\u0301 CAF\u00c9 the then the\n",
    "<0x41> <0x0A> \u2581 \u2581\u2581the \u0120the \u010a",
    # normal forms
    "e\u0323\u0301 e\u0301\u0323 q\u0307\u0323 \u0344 \u1e9b\u0323 \ufb01 \u212b \u2126 \u0958",
    "\u1112\u1161\u11ab \u1112\u1161 \u11ab \uac00\u11a8 \ud210\u11a7\u11a8",
    "\u0130I\u0131\u03a3\u03c3\u03c2 \u01c4 \u1e9e \ufdfa \u33cf \uff76\uff9e",
    # characters younger than the tables of this or that library
    "\U000105d2\U000105c0 \U00011f50\U00011f04 \U0001e5d0\U0001e5f1 \U00031350\u4e00 \U0001fae8\U0001fac6 \ua7cb\ua7cc",
    "a\u08ca\u0323 a\u0323\u08ca \U00011935\U00011930 \U00011938 \u32ff \U0001f16c",
    "\U00011de0\U00011de9 \U00010d40\U00010d4a",
    "  \U00010d53I \U00010d5c\ua7cb  \U00010d73 q\u1c8a \u2122 \u1c89",
]


PATTERNS = {"gpt2": "gpt-2", "llama3": "llama-bpe", "qwen2": "qwen2", "o200k": "gpt-4o", "deepseek_v3": "deepseek-v3", "deepseek_v2": "deepseek-llm"}


def write_gguf(kind, form):
    """All that follows from the form of tokenizer.json; of SentencePiece's, from its own model."""
    Type = gguf.TokenType
    path = FOLDER / f"{kind}.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama" if kind == "sentencepiece" else "gpt2")
    tokens = {i: (token, Type.NORMAL) for token, i in form["model"]["vocab"].items()}
    tokens |= {one["id"]: (one["content"], Type.CONTROL if one["special"] else Type.USER_DEFINED) for one in form["added_tokens"]}
    names = {tokens[i][0]: i for i in tokens}
    if kind == "sentencepiece":
        model = tokenizer_kinds.sentencepiece_model()
        types = [(model.is_unknown, Type.UNKNOWN), (model.is_control, Type.CONTROL), (model.is_byte, Type.BYTE), (lambda i: True, Type.NORMAL)]
        tokens = {i: (model.id_to_piece(i), next(one for holds, one in types if holds(i))) for i in range(model.get_piece_size())}
        writer.add_token_scores([model.get_score(i) for i in range(len(tokens))])
        writer.add_bos_token_id(model.bos_id())
        writer.add_eos_token_id(model.eos_id())
    else:
        writer.add_tokenizer_pre(PATTERNS[kind])
        writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in form["model"]["merges"]])
        if "<|begin|>" in names:
            writer.add_bos_token_id(names["<|begin|>"])
        if form["normalizer"]:
            writer.add_bool("tokenizer.lamplighter.composes_characters", form["normalizer"] == {"type": "NFC"})
    writer.add_token_list([tokens[i][0] for i in range(len(tokens))])
    writer.add_token_types([tokens[i][1] for i in range(len(tokens))])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path.chmod(0o644)


def ids_of(tokenizer, add):
    return [tokenizer.encode(text, add_special_tokens=add).ids for text in TEXTS]


def main():
    draw = random.Random(3)
    broken = [compare_tokenizers.break_text(draw, draw.choice(TEXTS)[:60]) for _ in range(30)]
    cases = {"made_with": "tokenizers " + tokenizer_kinds.VERSION, "texts": TEXTS, "broken": [text.hex() for text in broken], "kinds": {}}
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in [*FOLDER.glob("*.json"), *FOLDER.glob("*.gguf")]:
        old.unlink()
    for kind in tokenizer_kinds.KINDS:
        form, tokenizer = tokenizer_kinds.form_of(kind)
        (FOLDER / f"{kind}.json").write_text(form + "\n", encoding="utf-8")
        if kind in PATTERNS or kind == "sentencepiece":
            write_gguf(kind, json.loads(form))
        plain, framed = ids_of(tokenizer, False), ids_of(tokenizer, True)
        found = {"ids": plain}
        if framed != plain:
            found["with_template"] = framed
        if kind not in compare_tokenizers.SHOWN_OTHERWISE:
            found["decoded"] = [tokenizer.decode(ids) for ids in plain]
        if compare_tokenizers.can_be_broken(kind, tokenizer):
            found["broken"] = [compare_tokenizers.ids_of_broken(tokenizer, text) for text in broken]
        cases["kinds"][kind] = found
    (FOLDER / "cases.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
