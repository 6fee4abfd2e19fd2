"""Every page state and every email, drawn without a running system: for screenshots and for accessibility tests.

python -m scripts.gallery       # make screenshots: var/screenshots, and the few that are kept in docs/images
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, Route, sync_playwright

from scripts.gallery_pages import Drawn, emails, pages

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "var" / "screenshots"
PLACE: Final = "http://127.0.0.1:9/"
"""Where the drawn pages seem to be; nothing listens there, the browser is given them."""
KEPT: Final = {
    "page": "declined",
    "paid": "paid",
    "email": "email-payment-failed",
    "several": "declined-several",
    "ended": "ended-unpaid",
    "german": "declined-de",
    "collection-ended": "email-collection-ended",
    "cancellation": "email-cancellation-requested",
}
"""The pictures that are kept in docs/images, and what each shows."""
SIZES: Final = {"phone": (390, 844), "desktop": (1280, 900)}


def serve(page: Page, drawn: dict[str, Drawn]) -> None:
    """Let a browser's tab find the drawn pages under `PLACE`, each with its own headers; nothing else exists."""

    def answer(route: Route) -> None:
        one = drawn.get(route.request.url.removeprefix(PLACE))
        if one is None:
            route.abort()
            return
        # A page that looks again by itself would do so in the middle of a look at it.
        headers = {name: value for name, value in one.headers.items() if name != "Refresh"}
        route.fulfill(body=one.html, headers=headers)

    page.route("**/*", answer)


def _shots(browser: Browser, drawn: dict[str, Drawn]) -> Iterator[Path]:
    for size, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,  # type: ignore[arg-type]
                device_scale_factor=1,
            )
            page = context.new_page()
            serve(page, drawn)
            for name in drawn:
                page.goto(PLACE + name)
                file = FOLDER / f"{name}.{size}.{scheme}.png"
                page.screenshot(path=file, full_page=True, animations="disabled")
                yield file
            context.close()


def _keep(browser: Browser, drawn: dict[str, Drawn]) -> None:
    """A phone's first look at each, small."""
    width, height = SIZES["phone"]
    page = browser.new_page(viewport={"width": width, "height": height})
    serve(page, drawn)
    for picture, name in KEPT.items():
        page.goto(PLACE + name)
        page.screenshot(path=ROOT / "docs" / "images" / f"{picture}.png", animations="disabled")
    page.close()


def main() -> int:
    """Write the screenshots; says where they are."""
    from tests.fixtures.browser import FLAGS, chromium

    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=flags)
        drawn = {**pages(), **emails()}
        _keep(browser, drawn)
        count = sum(1 for _ in _shots(browser, drawn))
        browser.close()
    print(f"{count} screenshots are in {FOLDER.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
