"""Tokenizers of every kind we read, small, and texts that try them. For golden_tokenizer.py and compare_tokenizers.py.

They learn from text that is made here, so that they are the same on every machine; the patterns and settings are those of the families.
"""

import io
import json
import random

import sentencepiece
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = WORDS % r"\p{N}{1,3}"
QWEN2 = WORDS % r"\p{N}"
UPPER, LOWER, CLITIC = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = "|".join(
    [
        rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+{CLITIC}",
        rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*{CLITIC}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)
DEEPSEEK_V3 = [
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
]
CASED = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK"
    "-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
DEEPSEEK_V2 = [r"[\r\n]", rf"\s?[{CASED}]+", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", r"[一-龥ࠀ-一가-퟿]+"]

# ---- text -------------------------------------------------------------------------------------------------------------------------

LETTERS = {
    "latin": "etaoinshrdlucmfwypvbgkqjxz",
    "accents": "éèêëàâäùûüôöîïçñåøæœß",
    "greek": "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώ",
    "cyrillic": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё",
    "hebrew": "אבגדהוזחטיכלמנסעפצקרשת",
    "arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "devanagari": "कखगघचछजझटठडढतथदधनपफबभमयरलवशषसहािीुूेैोौ्",
    "thai": "กขคงจฉชซญดตถทนบปผพฟมยรลวสหอะาิีึืุูเแโใไ่้",
    "hangul": "가나다라마바사아자차카타파하한글국어",
    "kana": "あいうえおかきくけこさしすせそアイウエオカキクケコ",
    "han": "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生",
}
EMOJI = ["😀", "👨‍👩‍👧", "🇫🇷", "❤️", "👍🏽", "🏳️‍🌈", "🫠", "🫨", "🩷", "©", "™", "→", "∑", "½"]
SPACES = [" ", "  ", "    ", " " * 17, "\t", "\n", "\n\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\xa0", "\u1680", "\u180e", "\u2003", "\u2028", "\u202f",
          "\u205f", "\u3000", "\u200b", "\ufeff", " \n", "\n ", "\t\t"]
NUMBERS = ["0", "7", "42", "123", "1234567", "3.14", "-2e10", "1,000", "٣٤", "½", "Ⅷ", "²", "௧௨", "𝟘𝟙", "𑽐𑽑", "一二三", "๔๕"]
MARKS = ["e\u0301", "e\u0323\u0301", "a\u0301\u0323", "q\u0307\u0323", "\u0301", "\u0345\u0301", "ﬁ", "Å", "ｶﾞ", "㎏", "ﷺ", "각", "\u1112\u1161\u11ab", "क़",
         "\u0958", "İ", "ſ", "K", "\u09dc", "\ufb1d", "\U0001d15e", "\u0344", "\u0374", "Ω", "\u2126", "\U00011935\U00011930", "\u1e9b\u0323", "\u08ca\u0323"]
CODE = ["int main(void) { return 0; }", "x[i] += y->z;", "#include <stdio.h>", "def f(self, *a):", "a_b camelCase", "https://example.org/?q=%20", "== != <=", "/* */",
        "'s", "'re", "'LL", "\u2019s", "it's", "WE'VE", "I'm", "don't", "$5", "€7", "C++", "``x''", "...", "--", "!?", "\\n", "\"q\"", "{}", "[](", "@user", "&amp;"]
LOOKALIKES = ["<|endoftext|>", "<|endoftext|", "|endoftext|>", "<s>", "</s>", "< s>", "<unk>", "<0x41>", "<0x0A>", "<0xZZ>", "▁", "▁▁", "▁the", "Ġ", "Ġthe", "Ċ",
              "<|im_start|>", "<|im_end|>", "<|im_start|><|im_end|>", "<mask>", " <mask> ", "<mask><mask>", "the<mask>the", "[WORD]", "a[WORD]", "[WORD]b", " [WORD] ",
              "[NORM]", "[norm]", "CAFÉ", "café", "cafe\u0301", "\n\n\n", "<|begin|>", "<|end|>"]


def word(draw, letters, most=9):
    """Not uniform, so that there is something to learn."""
    return "".join(letters[min(int(draw.expovariate(4 / len(letters))), len(letters) - 1)] for _ in range(draw.randint(1, most)))


def corpus(seed=1):
    draw = random.Random(seed)
    lexicon = {script: [word(draw, letters) for _ in range(60)] for script, letters in LETTERS.items()}
    for _ in range(1500):
        script = draw.choice(["latin"] * 6 + list(LETTERS))
        words = [lexicon[script][min(int(draw.expovariate(0.1)), 59)] for _ in range(draw.randint(3, 15))]
        if draw.random() < 0.3:
            words[0] = words[0].capitalize()
        if draw.random() < 0.4:
            words.insert(draw.randrange(len(words)), draw.choice(NUMBERS + CODE + EMOJI))
        yield draw.choice([" ", " ", " ", "", "\n", "  "]).join(words) + draw.choice([".", "!", "\n", "\n\n", ";\n    ", ""])


def random_character(draw):
    while True:
        point = draw.choice([draw.randrange(1, 0x80), draw.randrange(0x80, 0x800), draw.randrange(0x800, 0x10000), draw.randrange(0x10000, 0x110000),
                             draw.randrange(0x10000, 0x20000), draw.randrange(0x300, 0x370), draw.randrange(0x1100, 0x1200)])
        if not 0xD800 <= point < 0xE000:
            return chr(point)


def text(draw):
    parts = []
    for _ in range(min(int(draw.expovariate(0.15)), 60) + 1):
        kind = draw.random()
        if kind < 0.45:
            part = word(draw, LETTERS[draw.choice(["latin"] * 8 + list(LETTERS))])
            if draw.random() < 0.2:
                part = draw.choice([str.capitalize, str.upper])(part)
        elif kind < 0.75:
            part = draw.choice(draw.choice([SPACES, SPACES, NUMBERS, EMOJI, MARKS, CODE, LOOKALIKES, LOOKALIKES]))
        elif kind < 0.85:
            part = "".join(random_character(draw) for _ in range(draw.randint(1, 4)))
        elif kind < 0.88:
            part = draw.choice([" ", "\n", "a", "é", "的", "\u0301", "=", "▁", "0", "<"]) * draw.randint(1, 120)
        else:
            part = ""
        parts.append(part)
        if draw.random() < 0.5:
            parts.append(" ")
    return "".join(parts)


def texts(n, seed):
    draw = random.Random(seed)
    return ["", " ", "a"][:n] + [text(draw) for _ in range(n - 3)]


# ---- tokenizers -------------------------------------------------------------------------------------------------------------------

SIZES = {"bytes": 400, "characters": 500, "words": 200}  # of vocabularies, more for a thorough comparison
ZOO = [
    AddedToken("<mask>", lstrip=True, rstrip=True, special=True, normalized=False),
    AddedToken("[WORD]", single_word=True, normalized=False),
    AddedToken("[NORM]", normalized=True),
    AddedToken("café", normalized=True, lstrip=True),
    AddedToken("the", single_word=True, rstrip=True, normalized=True),
    AddedToken("  ", normalized=False),
    AddedToken("    ", normalized=True),
    AddedToken("\n\n", normalized=False),
]


def finish(tokenizer, added=(), template=None):
    tokenizer.add_tokens(list(added))
    if template:
        ids = [(name, tokenizer.token_to_id(name)) for name in template.split() if not name.startswith("$")]
        tokenizer.post_processor = processors.TemplateProcessing(single=template, pair=template + " $B", special_tokens=ids)
    return json.loads(tokenizer.to_str())


def learning_text():
    """Also such as the texts to be compared, so that whatever a pattern should keep apart, some merge would join."""
    return list(corpus()) + texts(SIZES["bytes"] * 3, 2)


def bytes_of(steps, normalizer=None, prefix=False, uses_regex=False, specials=("<|endoftext|>",), added=(), template=None):
    """Merges are learned from uncut text."""
    learner, tokenizer = Tokenizer(models.BPE()), Tokenizer(models.BPE())
    last = pre_tokenizers.ByteLevel(add_prefix_space=prefix, trim_offsets=False, use_regex=uses_regex)
    steps = [pre_tokenizers.Split(Regex(step), behavior="isolated") if isinstance(step, str) else step for step in steps]
    if normalizer:
        tokenizer.normalizer = learner.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps + [last]) if steps else last
    tokenizer.decoder = decoders.ByteLevel()
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=SIZES["bytes"], special_tokens=list(specials), initial_alphabet=alphabet, max_token_length=16, show_progress=False)
    learner.train_from_iterator(learning_text(), trainer)
    return finish(with_vocabulary_of(tokenizer, learner), added, template)


def with_vocabulary_of(tokenizer, learner):
    form, learned = json.loads(tokenizer.to_str()), json.loads(learner.to_str())
    form["model"]["vocab"], form["model"]["merges"] = learned["model"]["vocab"], learned["model"]["merges"]
    form["added_tokens"] = [token for token in learned["added_tokens"] if not token["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(form))


def characters_of(pre_tokenizer=None, normalizer=None, decoder=None, n_bytes=256, fuse=True, added=(), template=None, alphabet=120, joins_words=True):
    """As converted from SentencePiece: bytes behind the first special tokens, then what merging gave, which by rights joins no words."""
    specials = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(n_bytes)]
    learner, tokenizer = Tokenizer(models.BPE(unk_token="<unk>")), Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=n_bytes > 0, fuse_unk=fuse))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder or decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    if joins_words:
        learner.normalizer = normalizers.Replace(" ", "▁")
    else:
        learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    trainer = trainers.BpeTrainer(vocab_size=SIZES["characters"], limit_alphabet=alphabet, special_tokens=specials, max_token_length=16, show_progress=False)
    learner.train_from_iterator(learning_text(), trainer)
    return finish(with_vocabulary_of(tokenizer, learner), added, template)


def sentencepiece_model():
    """One that SentencePiece learned itself, as Llama's and Mixtral's."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for one in corpus() for line in one.split("\n") if "\0" not in line]), model_writer=model, model_type="bpe",
        vocab_size=SIZES["characters"] + 300, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
        character_coverage=0.98, allow_whitespace_only_pieces=True, max_sentencepiece_length=16, num_threads=1, minloglevel=2, max_sentence_length=100000)
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def from_sentencepiece():
    """All ways to make a piece of two others are merges, those of the piece with the highest score first, as transformers converts such models."""
    model = sentencepiece_model()
    pieces = {model.id_to_piece(i): i for i in range(model.get_piece_size())}
    merges = []
    for piece, i in pieces.items():
        if not (model.is_control(i) or model.is_unknown(i) or model.is_byte(i)):
            ways = [(piece[:at], piece[at:]) for at in range(1, len(piece)) if piece[:at] in pieces and piece[at:] in pieces]
            merges += [(-model.get_score(i), pieces[left], pieces[right], [left, right]) for left, right in ways]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = sentencepiece_steps()
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    form = json.loads(tokenizer.to_str())
    form["model"]["vocab"], form["model"]["merges"] = pieces, [way for *_, way in sorted(merges)]
    tokenizer = Tokenizer.from_str(json.dumps(form))
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in ("<unk>", "<s>", "</s>")])
    return finish(tokenizer, template="<s> $A")


def words_of(pre_tokenizer, normalizer=None):
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator(corpus(), trainers.WordLevelTrainer(vocab_size=SIZES["words"], special_tokens=["<unk>", "<|endoftext|>"], show_progress=False))
    return finish(tokenizer)


def older(form):
    """As files were before 2024: merges as text."""
    form["model"]["merges"] = [" ".join(pair) for pair in form["model"]["merges"]]
    for key in ("ignore_merges", "byte_fallback"):
        form["model"].pop(key)
    return form


def with_unreachable_tokens(form):
    """As Llama 3's file has it: a piece that is a token needs no merges; every seventh merge is left out to show it."""
    form["model"]["ignore_merges"] = True
    form["model"]["merges"] = [pair for i, pair in enumerate(form["model"]["merges"]) if i % 7]
    return form


def sentencepiece_steps():
    return normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])


def split(pattern, behavior, invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior=behavior, invert=invert)


CHAT = [AddedToken("<|im_start|>", special=True, normalized=False), AddedToken("<|im_end|>", special=True, normalized=False)]
RUNS = [AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)]

KINDS = {
    "tokenizer": lambda: bytes_of([QWEN2]),  # in the form we write
    "gpt2": lambda: older(bytes_of([], uses_regex=True)),
    "gpt2_prefix": lambda: bytes_of([], prefix=True, uses_regex=True, added=ZOO),
    "llama3": lambda: with_unreachable_tokens(bytes_of([LLAMA3], specials=["<|begin|>", "<|end|>"], template="<|begin|> $A")),
    "qwen2": lambda: bytes_of([QWEN2], normalizers.NFC(), added=CHAT),
    "o200k": lambda: bytes_of([O200K]),
    "deepseek_v3": lambda: bytes_of(DEEPSEEK_V3, added=CHAT),
    "deepseek_v2": lambda: bytes_of(DEEPSEEK_V2 + [pre_tokenizers.Digits(individual_digits=True)]),
    "starcoder": lambda: bytes_of([pre_tokenizers.Digits(individual_digits=True)], uses_regex=True),
    "olmoe": lambda: bytes_of([], normalizers.NFC(), uses_regex=True, added=RUNS),
    "added": lambda: bytes_of([QWEN2], normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()]), added=ZOO, template="<|endoftext|> $A <|endoftext|>"),
    "behaviors": lambda: bytes_of([split(r"[aeiou]", "merged_with_previous"), split(r"\s+", "merged_with_next"), split(r"\p{P}", "contiguous"),
                                   split(r"\w+", "merged_with_next", True), split(r"(?=q)|$", "isolated"), split(r"[\x00-\x1f]+", "removed")]),
    "sentencepiece": from_sentencepiece,
    "mixtral": lambda: characters_of(normalizer=sentencepiece_steps(), template="<s> $A", joins_words=False),
    "mistral": lambda: characters_of(pre_tokenizers.Metaspace(prepend_scheme="first", split=False), added=CHAT, template="<s> $A"),
    "metaspace": lambda: characters_of(pre_tokenizers.Metaspace(prepend_scheme="always", split=True), decoder=decoders.Metaspace(), n_bytes=0, added=ZOO),
    "gemma": lambda: characters_of(split(" ", "merged_with_previous"), normalizers.Replace(" ", "▁"),
                                   decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]),
                                   added=[AddedToken("\n" * n, normalized=False) for n in range(2, 9)]),
    "unknowns": lambda: characters_of(normalizer=sentencepiece_steps(), n_bytes=0, fuse=False, alphabet=40, joins_words=False),
    "some_bytes": lambda: characters_of(normalizer=sentencepiece_steps(), n_bytes=0xD0, alphabet=40, added=ZOO),
    "words": lambda: words_of(pre_tokenizers.Whitespace()),
    "words_split": lambda: words_of(pre_tokenizers.WhitespaceSplit(), normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()])),
    "forms": lambda: bytes_of([QWEN2], normalizers.Sequence([normalizers.Strip(), normalizers.NFKD(), normalizers.Replace(Regex(r"\p{Mn}+"), "^"),
                                                            normalizers.Replace("the", "THE"), normalizers.Prepend("»")])),
    "nfd": lambda: bytes_of([QWEN2], normalizers.NFD()),
}


def form_of(kind):
    """As text, and ready to use."""
    form = json.dumps(KINDS[kind](), ensure_ascii=False, separators=(",", ":"))
    return form, Tokenizer.from_str(form)


VERSION = tokenizers.__version__
