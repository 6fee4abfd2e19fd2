"""One word for one thing, in mails, on the page and on Stripe's pages where the customer goes next; and one form of address.

Regular expressions by language, each of a word that our texts do without, and what they say instead. Where both words are
right in other places, the expression has as much of the sentence as it takes.
"""

from __future__ import annotations

INSTEAD: dict[str, dict[str, str]] = {
    "en": {
        r"\b[Ee]-mail": "email",
        r"Please act|[Aa]ction required|[Ll]ast notice": "a fact: the words of scams are not ours",
        r"don’t have to do anything": "what is known of one payment: another may be open",
        r"[Tt]he card we charged": "your card",
        r"takes? no mail|came back\b": "bounced",
        r"in your name": "on your behalf",
        r"with the period": "at the end of the paid period",
        r"[Yy]ou get this email": "you’re receiving this email",
    },
    "de": {
        r"Zahlungsart|Zahlungsweise|Zahlungsmittel": "Zahlungsmethode",
        r"aktualisier\w* Sie Ihre Zahlungsmethode": "Zahlungsmethode ändern",
        r"\bHallo\b": "Guten Tag",
        r"\b(Email|eMail|e-mail)\b": "E-Mail",
        r"\bAbonnement|\bMitgliedschaft": "Abo",
        r"geklappt|klappt": "abbuchen; eingehen",
        r"Bitte handeln|Handlungsbedarf": "Noch offen",
        r"gehört nur Ihnen": "ist nur für Sie bestimmt",
        r"liest mit|\baufheben\b|kam zurück|belastete Karte": "antwortet; aufbewahren; nicht zustellbar; Ihre Karte",
    },
    "es": {
        r"[Ff]orma de pago|[Mm]edio de pago": "método de pago",
        r"[Cc]ambiar? (la|el|su) (forma|método|medio) de pago": "actualizar el método de pago",
        r"\bAceptar\b|\bAcepte\b|[Ss]i acepta,|aceptado cancelar": "aprobar",
        r"[Mm]embresía|[Aa]bono\b": "suscripción",
        r"\b[Ee]-?mail\b": "correo (electrónico)",
        r"Acción (necesaria|requerida)": "Pendiente de pago",
        r"[Pp]ide cancelar|[Pp]idió cancelar": "solicitar",
        r"[Ss]ocio de pagos": "proveedor de pagos",
        r"¿Preguntas\?|no se ha podido realizar": "¿Tiene alguna duda?; no se ha completado",
    },
    "fr": {
        r"pas passés?\b|est passé\b|maintenant passé\b": "(ne pas) aboutir",
        r"[Cc]hange[rz]? (de|le|votre) moyen de paiement": "mettre à jour le moyen de paiement",
        r"[Mm]éthode de paiement|[Mm]ode de paiement": "moyen de paiement",
        r"\b[Ee]mail|\bcourriel": "e-mail",
        r"Bonjour, ?%\(name\)s": "Bonjour %(name)s",
        r"Action requise|restent à payer": "Toujours à régler",
        r"vous seul\b|[Qq]uiconque": "la seule personne; toute personne qui",
        r"toujours dû|de nous-mêmes|[Cc]arte débitée": "toujours en attente; ne plus faire d’essai; votre carte",
    },
    "it": {
        r"\bSalve\b": "Buongiorno",
        r"[Mm]odalità di pagamento|[Mm]ezzo di pagamento": "metodo di pagamento",
        r"\bGestire\b|\bAccettare\b|\bRifiutare\b|\bConfermare il|\bAprire\b|\bVedere\b": "the imperative on buttons",
        r"\bAccetti\b|[Ss]e accetta\b|accettato la disdetta|stata accettata": "approvare",
        r"\bper e-mail\b|\bper email\b": "via e-mail",
        r"Azione richiesta|ancora dovut[oa]": "in sospeso",
        r"presso %\(name\)s": "con",
        r"tornata indietro|di nostra iniziativa|[Cc]arta addebitata": "non recapitata; altri tentativi; la Sua carta",
        r"\b[Ii]nviatemi": "Invia",
    },
    "nl": {
        r"[Ww]erk (uw|de) betaalmethode|betaalmethode bij(werken|gewerkt)": "wijzigen",
        r"[Bb]etaalwijze|[Bb]etaalmiddel": "betaalmethode",
        r"Actie (nodig|vereist)": "Nog open",
        r"\b[Zz]e (is|blijft|wordt)\b": "die, deze",
        r"uit onszelf|kwam terug|neemt geen e-mail aan": "geen nieuwe poging; niet bezorgd",
    },
    "pl": {
        r"[Tt]ermin(y|ów|om|ami|ach)?\b": "wizyty",
        r"końców": "Visa •••• 4242",
        r"[Ss]pos[oó]b(u|em)? płatności|[Ff]orm(a|y|ę) płatności": "metoda płatności",
        r"zaktualizować metodę": "zmienić metodę płatności",
        r"Prosimy o działanie|Wymagane działanie": "Nadal do zapłaty",
        r"prosi o rezygnację|[Pp]oproś o": "rezygnować, zgłosić",
        r"[Pp]łatność wciąż czeka|[Ss]ami nie|[Oo]bciążana karta": "nieopłacona; nie podejmiemy; karta",
    },
    "pt_BR": {
        r"[Cc]ompromisso": "agendamentos",
        r"\bAceitar\b|\bAceite\b|[Ss]e aceitar\b|aceitou cancelar": "aprovar",
        r"[Mm]étodo de pagamento|[Mm]eio de pagamento": "forma de pagamento",
        r"\b[dn]?o Stripe\b": "a Stripe",
        # Portugal's words.
        r"[Ii]ntroduz[ai]|[Ee]ntretanto|[Tt]elemóvel|[Uu]tilizador|[Cc]ontacto\b|[Cc]onnosco|[Ss]ubscrição|[Rr]egist[oa]d[oa]"
        r"|\bRecebe este": "Brazil's",
        r"Ação necessária": "Ainda em aberto",
        r"faltam? pagar|[Tt]alvez tentemos|temos guardado": "em aberto; podemos; cadastrado",
    },
}

INFORMAL: dict[str, str] = {
    "de": r"\b(du|dich|dir|dein(e[mnrs]?)?|euch|euer|eure[mnrs]?)\b|\b(Klicke?|Öffne|Bestätige|Prüfe?|Gib|Füge|Melde) ",
    "es": r"\b(tú|tus?|ti|contigo|vosotros|vuestr[oa]s?)\b|\b([Pp]uedes|[Tt]ienes|[Hh]as|[Aa]ctualiza|[Aa]ñade|[Hh]az) (el|la|tu)\b",
    "fr": r"\b(tu|te|toi|ton|ta|tes|tien(ne)?s?)\b|\bt’",
    "it": r"\b(tu|ti|te|tuo|tua|tuoi|tue|voi|vi|vostr[oaie])\b|\b(puoi|hai|devi)\b",
    "nl": r"\b(je|jij|jou|jouw|jullie|jouwe)\b",
    "pl": r"\b(ty|ciebie|cię|ci|tobie|tobą|twój|twoj\w+|twe\w+)\b|\b(możesz|masz|musisz|kliknij|zapłać)\b",
    "pt_BR": r"\b(tu|te|ti|teus?|tuas?|contigo|vós|voss[oa]s?)\b",
}
"""The customer as a friend, where all our texts are formal (Sie, usted, vous, Lei, u, Państwo, você). Imperatives on Italian,
French and Polish buttons are nobody's address. Matched without regard to case."""

ADDRESSED: dict[str, str] = {
    "de": r"\b(Sie|Ihnen|Ihr(e[mnrs]?)?)\b",
    "es": r"\b(usted|su|sus)\b",
    "fr": r"\b(vous|votre|vos)\b",
    "it": r"\b(Lei|La|Le|Suo|Sua|Suoi|Sue)\b",
    "nl": r"\b([Uu]|[Uu]w)\b",
    "pl": r"\bPaństw(o|a|u|em)\b",
    "pt_BR": r"\b(você|seus?|suas?)\b",
}
"""The formal address itself: there must be some of it on both."""
