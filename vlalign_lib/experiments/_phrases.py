"""What methods are asked for on the glyph names."""

PHRASES = (
    "black heart",
    "leftwards arrow",
    "double arrow",
    "white chess bishop",
    "face",
    "circled digit",
    "box drawings light",
    "capital letter a",
    "capital letter with acute",
    "cyrillic capital letter",
    "hebrew letter",
    "arabic letter",
    "greek omega",
    "white star",
    "scissors",
    "integral",
    "vulgar fraction",
    "domino tile",
    "playing card of spades",
    "hexagram",
)
"""What every method is asked for on the glyph names: its answers are kept with its numbers."""

ANSWERS = 8
"""How many answers to a phrase are kept."""
