"""Takes what points to a person out of a free text: e-mail addresses, personal parts of links, phone and account numbers.

Pure. Called by `tasks.minimise` for columns that declare `redact: true`, before anything else sees a row, and by `mask`
of a model whose requests hold texts: training and service see the same. `LEFT` is what must not be found afterwards: the
expectations of such a table judge by it. What is not found (names, numbers in words, ...) stands in decision 097.
"""

from __future__ import annotations

import re
import unicodedata

EMAIL = "x@x.xx"  # as short as an address can be, and nobody's
REST = "/"  # stands for everything behind the host of a link

_MARKED = r"\u0300-\u1fff\u2c00-\u2fff\u3040-\U0010ffff"  # scripts beyond Latin: their marks are no \w to `re`
_LABEL = rf"[\w\-{_MARKED}]"
_DOT = r"[.\u3002]"
_TOP = rf"(?:[^\W\d_]|[{_MARKED}]){_LABEL}++"
_LOCAL = r"[^\s@<>()\[\]{},;:\x22\\]"  # any sign but those that a local part holds only in quotes
_BREAK = r"[\W_]{0,3}"
_FIRST = r"(?<!\d)(?<!\d[\W_])(?<!\d[\W_]{2})(?<!\d[\W_]{3})"  # no digit stands close before: where a number begins
_DATE = r"(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_AMOUNT = r"[1-9]\d{0,2}(?:(?:\.000){2,}|(?:,000){2,})"  # three digits that say something, and zeros
_NOT_ZERO = r"(?!0)\d"

# Each matches only what must go, nothing that stands in for it, and tries few starts or short ones: time stays linear.
LINK = re.compile(r":[/\\]{2}(?=[^\s/?#\\]*(?:@|[/?#\\]\S))[^\s/?#\\]*(?:[/?#\\]\S*)?")
BARE_LINK = re.compile(rf"(?<!{_LABEL})(?:{_LABEL}++{_DOT}){{1,8}}{_TOP}[/?#\\]\S+")
ADDRESS = re.compile(
    rf"(?:\x22[^\x22]{{1,64}}\x22|(?<!{_LOCAL})(?<!@)(?:{_LOCAL}|@)+)@(?:{_LABEL}++{_DOT})+{_TOP}"
    rf"(?<!(?<!{_LOCAL})(?<!@){re.escape(EMAIL)})"
)
NUMBER = re.compile(
    rf"{_FIRST}(?!(?:{_DATE}|{_AMOUNT})(?!{_BREAK}\d))(?=(?:0{_BREAK})*{_NOT_ZERO})\d(?:{_BREAK}\d){{6,}}"
    rf"|(?<!\d)(?=0*{_NOT_ZERO})\d{{5,}}"  # seven digits with breaks between, or five in a row
)
HIDDEN = re.compile(  # control and format signs, blank fillers, marks that stand on anything
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u20d0-\u20ff\u2800\u3164\ufe00-\ufe0f\ufe20-\ufe2f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
DISGUISED = re.compile(  # other signs for digits and for @, which are folded
    r"(?![0-9])\d|[\xb2\xb3\xb9\u2070\u2074-\u2079\u2080-\u2089\u2460-\u249b\u24ea-\u24ff\u2776-\u2793\uff20\ufe6b]"
)
LEFT = {
    "numbers": NUMBER.pattern,
    "addresses": ADDRESS.pattern,
    "links": f"{LINK.pattern}|{BARE_LINK.pattern}",
    "signs": f"{DISGUISED.pattern}|{HIDDEN.pattern}",
}

_HOST_ENDS = re.compile(r"[/?#\\]")
_PLAIN = re.compile(r"[\s -~]*", re.ASCII)
_ANYWHERE = re.compile(r"[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff]")  # marks of no script


def redact(text: str) -> str:
    """The text without addresses, personal parts of links and long numbers, never longer than it was.

    Repeated until nothing changes, so doing it again changes nothing. Length and look stay where they can: digits become
    0, so a phone number still looks like one. Signs that stand for others (full-width digits, a mathematical @) are folded
    and invisible ones taken out first, or they would hide what is looked for; so a text of invisible signs only becomes
    empty. Each round shortens the text or turns a digit into 0 or folds a sign: it comes to an end.
    """
    while (once := _once(text)) != text:
        text = once
    return text


def _once(text: str) -> str:
    plain = ADDRESS.sub(EMAIL, LINK.sub(_link, _folded(text)))
    return NUMBER.sub(_zeros, BARE_LINK.sub(_bare_link, plain))


def _folded(text: str) -> str:
    """At most one sign for one sign; a mark is joined with its letter, kept in a script that writes with marks, or dropped."""
    if _PLAIN.fullmatch(text):
        return text
    kept: list[str] = []
    for sign in map(_sign, HIDDEN.sub("", text)):
        if unicodedata.category(sign or " ") not in {"Mn", "Me"}:
            kept.append(sign)
        elif kept and len(joined := unicodedata.normalize("NFC", kept[-1] + sign)) == 1:
            kept[-1] = joined
        elif kept and _writes_with(kept[-1], sign):
            kept.append(sign)
    return "".join(kept)


def _sign(sign: str) -> str:
    """The plain form of a sign: digits as 0 to 9 (10 and more, in one sign, as 0), blanks as " ", format signs as nothing."""
    kind = unicodedata.category(sign)
    if kind in {"Cf", "Cc"} and not sign.isspace():
        return ""
    if sign.isspace():
        return sign if sign.isascii() else " "
    if kind in {"Nd", "No"} and unicodedata.numeric(sign, 0.5).is_integer():
        return str(unicodedata.digit(sign, 0))
    form = unicodedata.normalize("NFKC", sign)
    return form if len(form) == 1 else sign


def _writes_with(before: str, mark: str) -> bool:
    letter = unicodedata.category(before)[0] in "LM" and ord(before) >= 0x590  # Hebrew, Arabic, Devanagari, Thai ...
    return letter and not _ANYWHERE.match(mark)


def _link(found: re.Match[str]) -> str:
    marks, (authority, *rest) = found[0][:3], _HOST_ENDS.split(found[0][3:], maxsplit=1)
    host = authority.rpartition("@")[2]  # before it stand a user and a password
    return f"{marks}{host}{REST if rest else ''}"


def _bare_link(found: re.Match[str]) -> str:
    return _HOST_ENDS.split(found[0], maxsplit=1)[0] + REST


def _zeros(found: re.Match[str]) -> str:
    return re.sub(r"\d", "0", found[0])
