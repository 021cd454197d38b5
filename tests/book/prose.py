"""Find results typed into prose: decimals and percentages outside code, mathematics and glue."""

from __future__ import annotations

import re

# What may hold numbers: fenced blocks and directives, inline code, mathematics, roles such as
# {glue:text}`…`, HTML tags, addresses of links, front matter.
NOT_PROSE = [
    r"(?s)\A---\n.*?\n---\n",
    r"(?sm)^(`{3,}|~{3,}).*?^\1\s*$",
    r"(?s)\$\$.*?\$\$",
    r"(?s)\\begin\{(\w+\*?)\}.*?\\end\{\1\}",
    r"\$[^$\n]+(?:\n[^$\n]+)*\$",
    r"\{[\w:-]+\}`[^`]*`",
    r"(`+)(?:(?!\1).)+?\1",
    r"(?s)<!--.*?-->",
    r"<[^>]*>",
    r"\]\([^)]*\)",
    r"https?://\S+",
]
RESULT = re.compile(r"\d+\.\d+|(?<!\d)\.\d+|\d\s*%|\d\s+per ?cent")
# the level of an interval is a convention, not a result
CONVENTION = re.compile(r"\b95\s*% (?:confidence )?intervals?|CC BY 4\.0|Python 3\.\d+")


def prose(text: str) -> str:
    """The text with everything that is not prose blanked out."""
    for pattern in NOT_PROSE:
        text = re.sub(pattern, lambda found: "\n" * found[0].count("\n") or " ", text)
    return text


def typed_results(text: str) -> list[str]:
    """The lines of prose that hold a decimal or a percentage."""
    return [
        line.strip() for line in CONVENTION.sub("", prose(text)).splitlines() if RESULT.search(line)
    ]
