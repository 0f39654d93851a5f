"""Makes tests/golden/tokenizer: three small tokenizers and the ids that Hugging Face's tokenizers gives for some texts.

    python3 -m venv build/venv && build/venv/bin/pip install tokenizers && build/venv/bin/python tools/golden_tokenizer.py

Never needed to build or test. The tokenizers learn from this project's own sources, so a later run gives other files, in step with each other.
"""

import json
import pathlib

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "golden" / "tokenizer"
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

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
    "\u00a0no\u00a0break\u2003em\u3000wide\u2028line\u2029paragraph\u0085next",
    "zero\u200bwidth \ufeff mark \u00adsoft",
    "nul \x00 bell \x07 escape \x1b delete \x7f unit \x1f",
    "!!! ... --- ??? #include <stdio.h> // a->b, x[i] = y[j] + 2 * z;",
    "https://example.org/a/b?c=d&e=%20f#g",
    "snake_case camelCase SCREAMING_CASE kebab-case",
    "statusstatusstatus memory_reserve memory_reservememory",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "==========================================================================================",
    "abcdefghijklmnopqrstuvwxyz" * 6,
    "returnfailstatuslengthbytes" * 12,
    " " * 100 + "x" + " " * 70,
    "\n" * 90,
    "\u00e9" * 80,
    "\U0010ffff \ue000 \ufffd \U000e0041",
    "\"quoted\" (parenthesised) [bracketed] {braced} <angled> `ticked` ~tilde^ $5 \u20ac7",
]


def split_by(pattern):
    split = pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated", invert=False)
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])


def train(size, pre_tokenizer):
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    sources = [path.read_text() for path in sorted((ROOT / "src" / "base").glob("*.[ch]"))]
    tokenizer.train_from_iterator(sources, trainer)
    return json.loads(tokenizer.to_str())


def older(form):
    """As GPT-2's file has it: merges as text, the pre-tokenizer with its own pattern."""
    form["model"]["merges"] = [" ".join(pair) for pair in form["model"]["merges"]]
    for key in ("ignore_merges", "byte_fallback"):
        form["model"].pop(key)
    return form


def with_unreachable_tokens(form):
    """As Llama 3's file has it: a piece that is a token needs no merges; every seventh merge is left out to show it."""
    form["model"]["ignore_merges"] = True
    form["model"]["merges"] = [pair for i, pair in enumerate(form["model"]["merges"]) if i % 7]
    return form


def main():
    forms = {
        "tokenizer.json": train(600, split_by(PATTERN)),
        "gpt2.json": older(train(400, pre_tokenizers.ByteLevel(add_prefix_space=False))),
        "llama3.json": with_unreachable_tokens(train(400, split_by(PATTERN.replace(r"\p{N}|", r"\p{N}{1,3}|")))),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    ids = {}
    for name, form in forms.items():
        text = json.dumps(form, ensure_ascii=False, separators=(",", ":"))
        (FOLDER / name).write_text(text + "\n", encoding="utf-8")
        tokenizer = tokenizers.Tokenizer.from_str(text)
        ids[name] = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    cases = {"made_with": "tokenizers " + tokenizers.__version__, "texts": TEXTS, "ids": ids}
    (FOLDER / "cases.json").write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
