"""What a language's typographers want of every text, so that no translator has to type characters that can't be seen."""

from __future__ import annotations

import re

from shared.l10n.grammar import grammar


def typeset(text: str, language: str) -> str:
    """The text with the spaces and hyphens of its language (a catalogue's name) that no line may break at. The same when
    done twice.

    For texts of ours; names and addresses that go into them are none of it.
    """
    for pattern, replacement in grammar(language).typography.rules:
        text = re.sub(pattern, replacement, text)
    return text


def labelled(label: str, language: str) -> str:
    """A label with its colon: `Invoice:`, in French `Facture :`."""
    return typeset(f"{label}:", language)
