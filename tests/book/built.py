"""The pages of the built book."""

from pathlib import Path


def pages_of(site: Path) -> list[Path]:
    """Every page that a reader sees: not the theme's templates, not the redirecting front door."""
    pages = [
        path
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.parts and 'http-equiv="Refresh"' not in path.read_text("utf-8")
    ]
    assert len(pages) > 15
    return pages
