"""Ids that open_clip's own tokenizer, which HPSv2 uses, gives to odd texts: `open_clip_tokens.json`, rows of text and ids (77
at most). It cleans texts with ftfy and `html.unescape`, which transformers does not.

Texts that ftfy takes for wrongly decoded ones are left out, because that repair is not reproduced, and the names of
open_clip's special tokens do not appear. Also writes the names of HTML5 to `crates/rewards/vocabularies/html-entities.txt`.

Usage: python golden/rewards/open_clip_tokens.py   (needs open_clip_torch 3.3.0 and ftfy 6.3.1)
"""

import html.entities
import json
import pathlib
import random

import ftfy
from open_clip.tokenizer import SimpleTokenizer

import texts

HERE = pathlib.Path(__file__).parent
ENTITIES = HERE.parents[1] / "crates" / "rewards" / "vocabularies" / "html-entities.txt"
TEXTS = [
    "a &quot;green&quot; dog", "Tom &amp; Jerry", "Tom &amp;amp; Jerry", "Tom &amp;amp;amp;amp; Jerry", "a&nbsp;dog", "&lt;b&gt;dog&lt;/b&gt;",
    "<b>bold &amp; &eacute;</b>", "1 &lt 2 &gt 1", "this&not that", "&notit; &notin; &copy2026 &copycat", "P&EACUTE;REZ &NTILDE; &nTILDE; &SZLIG; &AMP; &GTDOT;",
    "&#39;quoted&#39; &#x27;hex&#X27; &#8217;curly&#8217;", "&#128054; &#x1F431; a pet", "&#0; &#1; &#11; &#13; &#127; &#128; &#129; &#150; &#xfdd0; &#xffff;",
    "&#x110000; &#xD800; &#99999999999999999999; &#; &#x; &; & &&amp;", "&#65 &#x41 &#65a &#x41g", "&unknown; &amp", "fish&chips &amp;chips",
    "&NewLine;a&Tab;b&ThickSpace;c", "&fjlig;ord &bne; &NotEqualTilde;", "e&#x301;", "&Auml;&ouml;&uuml;&szlig;", "&hellip;&mdash;&ndash;&ldquo;&rdquo;&lsquo;&rsquo;",
    "line one &amp;\nline <two> &amp; &EACUTE;\nline three &EACUTE; &amp;amp;amp;", "&ampamp;lt; &amp;#38;lt;", "&" + "a" * 40 + ";", "&" + "amp" * 15,
    "‘single’ “double” ‚low‘ „low“ ‛x‛ ‟y‟ ʼn ŉ", "ﬀ ﬁ ﬂ ﬃ ﬄ ﬅ ﬆ Ĳ ĳ Ǆ ǅ ǆ Ǳ ǲ ǳ Ǉ ǈ ǉ Ǌ ǋ ǌ", "ＦＵＬＬ　ＷＩＤＴＨ ！＂＃１２３", "ｶﾞｷﾞｸﾞ ﾎﾟｹﾓﾝ ﾡﾢ ￠￡￥￦",
    "\x1b[31mred\x1b[0m dog \x1b[ \x1b[1;2;3m\x1b[K", "con\x00trol\x07 \x0b chars\x7f \ufeffbom \ufff9x\ufffb \u206a", "ΟΔΟΣ ΣΊΣΥΦΟΣ", "İstanbul ISPARTA ẞ",
    "soft\u00adhyphen zero\u200bwidth", "\u2028line\u2029para\u0085next", "don't DON'T I'M we'Ve it’s IT’S", "a\u1680b\u2003c\u202fd\u205fe\u3000f", "½ ² ³ ① Ⅷ ٣",
]
PIECES = [
    "&amp;", "&AMP;", "&lt;", "&gt", "&quot;", "&#39;", "&#x2764;", "&eacute;", "&EACUTE;", "&nbsp;", "&notanentity;", "&", ";", "#", "’", "“", "ﬁ", "Ａ", "\u3000", "\x1b[1m",
    "\u200b", "\ufeff", "\n", "<", "a", "dog", "Green ", " the moon", "!", "42", "🐶", "犬", "ﾊﾟ",
]


def main():
    names = sorted(html.entities.html5.items())
    ENTITIES.write_text("".join(f"{name} {' '.join(f'{ord(letter):x}' for letter in letters)}\n" for name, letters in names))
    tokenizer = SimpleTokenizer()
    assert tokenizer.encode("a green dog") == [320, 1901, 1929]
    generator = random.Random(2027)
    candidates = TEXTS + ["".join(generator.choices(PIECES, k=generator.randint(1, 12))) for _ in range(200)] + texts.odd_texts()
    rows, left_out = [], 0
    for text in candidates:
        if ftfy.fix_text(text) != ftfy.fix_text(text, fix_encoding=False) or "<|" in text:
            left_out += 1
            continue
        ids = tokenizer.encode(text)[:75]
        rows.append([text, [tokenizer.sot_token_id, *ids, tokenizer.eot_token_id]])
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    (HERE / "open_clip_tokens.json").write_text(f"[\n{lines}\n]\n")
    print(len(rows), "texts,", left_out, "left out")


main()
