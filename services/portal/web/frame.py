"""How a page is drawn: its frame, colours and icon, and what the browser may load."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import eventlet
from babel import Locale
from eventlet.semaphore import Semaphore
from jinja2 import FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from services.portal.domain.snapshot import Business
from services.portal.settings import PLATFORM
from services.portal.texts import Texts, texts_in
from services.portal.web.markup import bdi, breakable, host, ltr, tel, whole
from shared.l10n.palette import Palette, Shades, palette
from shared.templating import TranslatedEnvironment, trusted

TEMPLATES: Final = Path(__file__).parents[1] / "templates"
SELF: Final = "'self'"
NONE: Final = "'none'"
_MAKING: Final = Semaphore()
"""Whose turn it is to make templates ready."""
_SEAM: Final = b"\0"
"""Stands in a drawn template between parts that do not belong together. No text that is kept has it (`shared.text.clean`)."""
LONG: Final = 32
"""Names longer than this are set smaller."""


@dataclass(frozen=True, slots=True)
class Page:
    """A drawn page: the HTML and the headers that belong to it."""

    body: bytes
    headers: tuple[tuple[str, str], ...]

    @property
    def html(self) -> str:
        """The body as text."""
        return self.body.decode()


def _squeeze(css: str) -> str:
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    css = re.sub(r"\s+", " ", css)
    return re.sub(r"\s*([{};,>])\s*", r"\1", css).replace(";}", "}").strip()


@lru_cache(maxsize=1)
def _stylesheet() -> bytes:
    return _squeeze((TEMPLATES / "style.css").read_text("utf-8")).encode()


@lru_cache(maxsize=1024)
def _colors(brand: Palette) -> str:
    def rule(shades: Shades) -> str:
        return (
            f":root{{--accent:{shades.text};--button:{shades.button};"
            f"--on-button:{shades.on_button};--edge:{shades.edge}}}"
        )

    return (
        rule(brand.light) + f"@media screen and (prefers-color-scheme:dark){{{rule(brand.dark)}}}"
    )


@lru_cache(maxsize=2048)
def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _initial(name: str) -> str:
    return next((character for character in name if character.isalnum()), "•").upper()


@lru_cache(maxsize=1024)
def _icon(brand: Palette, initial: str) -> str:
    """The tab's icon: the business's initial on its colour."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
        f'<rect width="32" height="32" rx="8" fill="{brand.light.button}"/>'
        '<text x="16" y="22.5" font-family="sans-serif" font-size="18" font-weight="700" '
        f'text-anchor="middle" fill="{brand.light.on_button}">{initial}</text></svg>'
    )
    return "data:image/svg+xml," + quote(svg, safe="/:=' ")


@lru_cache(maxsize=64)
def _environment(catalogue_name: str) -> TranslatedEnvironment:
    """The templates in one language. One environment each: Jinja keeps `gettext` among its globals."""
    texts = texts_in(Locale.parse(catalogue_name))
    eventlet.sleep(0)  # texts and templates take tens of milliseconds: others take turns between
    environment = TranslatedEnvironment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        texts.gettext, texts.ngettext, newstyle=True, pgettext=texts.pgettext
    )
    environment.translate_with(texts.gettext, texts.ngettext)
    environment.globals.update(
        bdi=bdi,
        whole=whole,
        breakable=breakable,
        ltr=ltr,
        tel=tel,
        host=host,
        long_name=LONG,
        seam=trusted(_SEAM.decode()),
    )
    environment.filters["icon"] = _drawn_icon
    # Imported by each template, they would be looked up, and made ready, for each page.
    drawn: Any = environment.get_template("parts.html").module
    environment.globals.update(
        # Few differ, and nothing of a customer's is in them: by where they came from, and how things stand.
        rest_of_billing_form=lru_cache(maxsize=256)(drawn.rest_of_billing_form),
        head_of_money=lru_cache(maxsize=256)(drawn.head_of_money),
        method_icon=lru_cache(maxsize=8)(drawn.method_icon),
        confirm_form=drawn.confirm_form,
    )
    return environment


def parts(texts: Texts) -> Any:
    """The macros of `parts.html` in a language."""
    return _template(texts.spoken, "parts.html").module


def _drawn_icon(path: str) -> Markup:
    """One of the page's own pictures; `path` as SVG writes it."""
    return Markup(
        '<svg width="20" height="20" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
        'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">'
        '<path d="{}"/></svg>'
    ).format(path)


@lru_cache(maxsize=512)
def _template(catalogue_name: str, name: str) -> Template:
    with _MAKING:  # whoever wants the same meanwhile waits for it, and finds it made
        return _made(catalogue_name, name)


@lru_cache(maxsize=512)
def _made(catalogue_name: str, name: str) -> Template:
    eventlet.sleep(0)
    return _environment(catalogue_name).get_template(name)


def _logo_source(business: Business | None) -> str:
    """The logo's origin, for the policy: the one foreign thing that the page may load."""
    if business is None or not business.logo_url:
        return ""
    parts = urlsplit(business.logo_url)
    return f" {parts.scheme}://{parts.netloc}"


def draw(
    template: str,
    *,
    locale: Locale,
    business: Business | None,
    form_targets: tuple[str, ...] = (),
    refresh_seconds: int | None = None,
    platform: str = PLATFORM,
    **context: Any,
) -> Page:
    """A template as a page, in one language and one business's colours, with the headers that make it safe. `platform`: what
    customers know this installation as."""
    texts = texts_in(locale)
    frame = _frame(texts, business, form_targets, platform)
    drawn = _template(texts.spoken, template).render(
        private=frame.private, business=business, **context
    )
    title, _, rest = drawn.encode().partition(_SEAM)
    main, _, last = rest.rpartition(_SEAM)
    opening, head, top, foot, ending = frame.parts
    style = _stylesheet()
    body = b"".join((opening, title, head, style, top, main, foot, last, ending))
    if refresh_seconds is None:
        return Page(body, frame.headers)
    return Page(body, (*frame.headers, ("Refresh", str(refresh_seconds))))


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all pages of one business in one language have in common: made once, and kept."""

    parts: tuple[bytes, ...]
    """`frame.html` before, between and after title, stylesheet, main part and last words. All have the stylesheet in common: kept with each,
    it would be most of what is kept."""
    private: Markup
    """What the customer's own page says of itself at its end."""
    headers: tuple[tuple[str, str], ...]


@lru_cache(maxsize=2048)
def _frame(
    texts: Texts, business: Business | None, form_targets: tuple[str, ...], platform: str
) -> _Frame:
    brand = palette(business.color if business else None)
    style, colors = _stylesheet().decode(), _colors(brand)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash(style)} {_hash(colors)}",
            f"img-src data:{_logo_source(business)}",
            # Browsers check the target of the redirect after a form too.
            f"form-action {' '.join(form_targets) or NONE}",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )
    initial = _initial(business.name) if business else ""

    known = {
        "business": business,
        "platform": platform,
        "texts": texts,
        "icon_url": _icon(brand, initial or "•"),
        "initial": initial,
        "colors": trusted(colors),  # made of checked #rrggbb only
    }

    def part(template: str) -> Markup:
        return trusted(_template(texts.spoken, template).render(known))

    return _Frame(
        parts=tuple(part("frame.html").encode().split(_SEAM)),
        private=part("private.html") if business else Markup(),
        headers=(
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Security-Policy", policy),
            ("Content-Language", texts.lang),
        ),
    )
