"""What the portal's settings make, once a process."""

from __future__ import annotations

from collections import defaultdict

from eventlet.semaphore import Semaphore

from services.portal.settings import Settings
from services.portal.tokens.connecting import LINK_SALT, STATE_SALT, SignedSecrets
from services.portal.tokens.links import Links
from services.portal.tokens.references import CheckoutReferences
from services.portal.tokens.request_links import RequestLinks
from services.portal.web.connect_page import ConnectPage
from services.portal.web.known_keys import KnownKeys
from services.portal.web.limiter import MOST_KEYS, Limiter


class Components:
    """What the settings make, once a process."""

    def __init__(self, settings: Settings) -> None:
        self.links = Links(settings.link_keys, settings.public_url)
        self.request_links = RequestLinks(settings.link_keys, settings.public_url)
        self.references = CheckoutReferences(settings.link_keys)
        self.connect_links = SignedSecrets(settings.link_keys, LINK_SALT)
        self.connect_states = SignedSecrets(settings.link_keys, STATE_SALT)
        self.connect_page = ConnectPage(
            settings.public_url, settings.stripe_client_id, settings.stripe_connect_base
        )
        self.session_origins = settings.portal_session_origins
        self.platform = settings.platform_name
        self.observes = settings.observes
        """Whether the whole installation observes."""
        self.api_mode = settings.api_mode
        self.limiter = Limiter()
        self.known_keys = KnownKeys()
        self.api_limiter = Limiter(most=settings.api_rate, remembered=MOST_KEYS)
        self.bulks: defaultdict[str, Semaphore] = defaultdict(Semaphore)
        """Whose turn it is among the bulk requests of a key of the API."""
