"""Hundreds of odd texts, the same at every call: what the tokenizers are compared on."""

import random

TEXTS = [
    "", " ", "\n\t ", "a", ".", "a green dog", "A GREEN DOG", "  a   green\tdog\n", "a dog,a cat;a bird!", "four pandas",
    "don't can't I'm you're we've he'll she'd it's THAT'S O'Brien rock 'n' roll", "3 dogs, 44 cats and 1234567 birds",
    "a painting of an ocean with clouds and birds, day time, low depth field effect", "8k, 4k, f/1.8, 50mm, ISO-100",
    "(masterpiece:1.2), [[blurry]], {detailed}, <lora:name:0.8>", "C++ & C# @home #1 $5 50% ^_^ ~ `code` | \\ / = +",
    "café naïve façade Zürich Ångström Dvořák Łódź İstanbul ıI ﬁ ﬀ ß ẞ", "cafe\u0301 n\u0303 o\u0308 a\u030a",
    "你好，世界。", "一只绿色的狗在草地上跑", "犬と猫が月の上にいる", "ガギグ ｶﾞｷﾞｸﾞ", "초록색 강아지", "한국어 텍스트", "зелёная собака",
    "πράσινος σκύλος ΣΊΣΥΦΟΣ", "كلب أخضر", "כלב ירוק", "हरा कुत्ता", "สุนัขสีเขียว", "con chó màu xanh lá cây", "գanaչ",
    "😀", "🐶🐱", "👨‍👩‍👧‍👦", "👍🏽", "🇩🇪🇫🇷", "❤️ ☀︎ ✈", "a dog 🐶 on the moon 🌙!!!", "ＦＵＬＬ　ＷＩＤＴＨ", "𝔣𝔯𝔞𝔨𝔱𝔲𝔯 𝒔𝒄𝒓𝒊𝒑𝒕",
    "zero\u200bwidth\u200djoiner\ufeff", "non\u00a0breaking\u2003em\u3000ideographic", "\u202eright to left\u202c",
    "null\u0000byte bell\u0007 \ufffd", "em—dash en–dash “quotes” ‘single’ … ellipsis", "½ ² ³ ① Ⅷ ٣ ५ ₂", "x" * 120, "ab" * 200,
    "dog " * 100, "supercalifragilisticexpialidocious antidisestablishmentarianism", "<|startoftext|> a dog <|endoftext|>",
    "[CLS] a dog [SEP] [MASK] [PAD] [UNK]", "##ing ##s", "</w>", "http://example.com/a?b=c&d=e#f", "&amp; &lt;b&gt;",
    "snake_case camelCase kebab-case dot.case", "a.b.c...d", "--- *** ===", "\"\"\"", "tab\tseparated\tvalues", "\r\nlines\r\n",
]
BLOCKS = [
    (0x20, 0x7E), (0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x17F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x5FF),
    (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x20A0, 0x20BF), (0x2100, 0x21FF),
    (0x2600, 0x27BF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xFF00, 0xFFEF), (0x1F300, 0x1F6FF),
]
WORDS = "a the green blue red dog cat panda moon grass book vase on of with two four running photo 4k art".split()


def random_text(generator):
    parts = []
    for _ in range(generator.randint(1, 14)):
        if generator.random() < 0.4:
            parts.append(generator.choice(WORDS))
        else:
            block = generator.choice(BLOCKS)
            parts.append("".join(chr(generator.randint(*block)) for _ in range(generator.randint(1, 6))))
        parts.append(generator.choice(["", " ", " ", "  ", ", ", "-"]))
    return "".join(parts)


def odd_texts():
    generator = random.Random(2026)
    return TEXTS + [random_text(generator) for _ in range(360 - len(TEXTS))]
