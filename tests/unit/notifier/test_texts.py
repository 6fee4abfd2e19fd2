"""The template of the catalogues holds every text that an email can say."""

from __future__ import annotations

from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

from services.notifier.texts import CATALOGUES


def test_the_template_is_up_to_date() -> None:
    """A text that was changed or added without extracting it again would never be translated."""
    with (CATALOGUES / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)
    found = {
        message
        for _, _, message, _, _ in extract_from_dir(
            str(CATALOGUES.parent), method_map=methods, options_map=options
        )
    }
    with (CATALOGUES / "notifier.pot").open("rb") as file:
        written = {message.id for message in read_po(file) if message.id}
    assert written == found
