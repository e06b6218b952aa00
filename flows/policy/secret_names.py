"""Whether a name is that of a secret, and whether a text holds one written out."""

import re

SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|secret|token|api[-_]?key|private[-_]?key|access[-_]?key|credential|"
    r"auth[-_]?(string|key|header)|authorization|connection[-_]?string|(^|[-_])(pass|pwd|dsn|pat)($|[-_])",
    re.IGNORECASE,
)
# Names of places where a secret is kept: a reference, as people should write it.
SECRET_PLACE = re.compile(r"(refs?|names?|arn|path|file|block|url|uri)$", re.IGNORECASE)
URL_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)
# Filled in later, from a block, a variable or the job's own variables.
TEMPLATED = re.compile(r"\{\{.*?\}\}", re.DOTALL)
# What may stand around a templated secret, or instead of one.
NO_SECRET = re.compile(r"|bearer|basic|token|true|false|yes|no|on|off|none|null", re.IGNORECASE)
URL = re.compile(r"[a-z][a-z0-9+.-]*://\S*", re.IGNORECASE)
# `MAX_TOKENS` and `TOKEN_TTL_SECONDS` are named like secrets, but count something.
NUMBER = re.compile(r"\d+(\.\d+)?")
COUNTING_NAME = re.compile(
    r"(^|[-_])(max|min|num|count|limit|ttl|seconds|minutes|hours|days|length|size|expir\w*)($|[-_])", re.IGNORECASE
)
# `--password x`, `--password=x` and `PASSWORD=x`, as in a command.
GIVEN = re.compile(
    r"(?:^|\s)(?:--?(?P<option>[a-z][\w-]*)(?:=|\s+)|(?P<variable>[a-z_]\w*)=)(?P<value>'[^']*'|\"[^\"]*\"|\S+)",
    re.IGNORECASE,
)
# Another option, or what a shell fills in.
NO_VALUE = re.compile(r"['\"]?[-$]")


def is_secret_name(name: str) -> bool:
    return SECRET_NAME.search(name) is not None and SECRET_PLACE.search(name) is None


def is_literal(value: str, name: str) -> bool:
    """Whether a text under a secret's name is the secret itself, and not what is filled in or what merely counts."""
    rest = TEMPLATED.sub("", value).strip()
    if NO_SECRET.fullmatch(rest) or (rest != value.strip() and URL.fullmatch(rest)):
        return False
    return not (NUMBER.fullmatch(rest) and COUNTING_NAME.search(name))


def holds_secret(text: str) -> bool:
    """Whether a text has a password in an address, or is a command that is given a secret."""
    if URL_WITH_PASSWORD.search(TEMPLATED.sub("", text)):
        return True
    # A place that is filled in later is a word, so that the next one is not taken for its value.
    given = GIVEN.finditer(TEMPLATED.sub("none", text))
    return any(_is_given(each["option"] or each["variable"], each["value"]) for each in given)


def _is_given(name: str, value: str) -> bool:
    return is_secret_name(name) and not NO_VALUE.match(value) and is_literal(value.strip("'\""), name)
