"""From a page's content to HTML that can be sent to anyone: nothing in it is fetched, names in it are only names."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dltool import __version__

TEMPLATES = Path(__file__).parent / "templates"
GENERATOR = '<meta name="generator" content="dltool'
# Colours that differ in hue and lightness, for light and dark grounds; further ones go round the hues.
_COLORS = ("#4477cc", "#ee7733", "#22a055", "#cc3344", "#9966cc", "#aa7744", "#dd66aa", "#888888", "#aaaa22", "#22bbcc")


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes:
        template: the file's name in `templates/`.
        title: of the window and the page.
        content: what the template shows, a dataclass of the page's module.
        data: what the script needs, as JSON knows it.
    """

    template: str
    title: str
    content: Any
    data: dict[str, Any] = field(default_factory=dict)


def render(page: Page, refresh: int | None = None) -> str:
    """The page as HTML.

    Args:
        refresh: seconds after which a browser reads it anew.
    """
    style, script = _part("page.css"), _part("page.js")
    policy = (
        f"default-src 'none'; img-src 'self' data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(page.template)
        .render(
            page=page,
            content=page.content,
            policy=policy,
            generator=Markup(f'{GENERATOR} {__version__}">'),
            style=Markup(style),
            script=Markup(script),
            data=embed_json(page.data),
            refresh=refresh,
        )
    )


def embed_json(data: Any) -> Markup:
    """JSON that may stand in a script element: no letter of it can end that, or begin a comment or a reference."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def group_color(number: int) -> str:
    """A colour for group `number`, which no chosen few of neighbours share."""
    if number < len(_COLORS):
        return _COLORS[number]
    return f"hsl({number * 137.508 % 360:.0f} 60% {45 + 12 * (number % 2)}%)"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value, digits=1: f"{100 * value:.{digits}f} %"
    environment.filters["number"] = lambda value: f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    environment.filters["words"] = _words
    environment.globals["group_color"] = group_color
    return environment


@cache
def _part(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _words(value: Any) -> str:
    """A setting's value for people."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(_words(part) for part in value) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(part)}" for name, part in value.items()) or "–"
    return str(value)
