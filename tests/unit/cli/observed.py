"""What services tell of a business that observes: emails, charges, and who their customers are, page by page."""

from __future__ import annotations

from typing import Any

from portico.cli.rpc import Fault
from tests.unit.cli.conftest import FakeServices

MOMENT = "2026-11-23T10:00:00Z"


def mail(number: int, **changes: Any) -> dict[str, Any]:
    """An email about an invoice of $149.00 that is still open; `invoice` changes what became of it."""
    invoice = {
        "status": "open",
        "currency": "usd",
        "amount_due": 14900,
        "amount_remaining": 14900,
        "amount_paid": 0,
        "number": f"PAYF-{number}",
        **changes.pop("invoice", {}),
    }
    return {
        "notification_id": f"ntf_{number}",
        "business_id": "sunrise",
        "account": "",
        "on_behalf_of": "",
        "kind": "payment_failed",
        "status": "observed",
        "reason": "observed: nothing goes out by itself until the business is live",
        "invoice_id": f"in_{number}",
        "stripe_customer_id": f"cus_{number}",
        "customer_id": None,
        "created_at": MOMENT,
        "due_at": MOMENT,
        "occurred_at": MOMENT,
        "observed_at": MOMENT,
        "invoice": invoice,
        **changes,
    }


def paid(amount: int = 14900) -> dict[str, Any]:
    """What became of an invoice that was paid."""
    return {"status": "paid", "amount_paid": amount, "amount_remaining": 0}


def charge(number: int, **changes: Any) -> dict[str, Any]:
    """What would have been charged to the customer's new card."""
    return {
        "account": "",
        "on_behalf_of": "",
        "stripe_customer_id": f"cus_{number}",
        "invoice_id": f"in_{number}",
        "payment_method_id": "pm_1",
        "change_id": f"chg_{number}",
        "amount": 14900,
        "currency": "usd",
        "at": MOMENT,
        "number": f"PAYF-{number}",
        "invoice_status": "open",
        "amount_paid": 0,
        "amount_remaining": 14900,
        **changes,
    }


class ObservingWorld:
    """Services of businesses that observe. What is accepted is told no more, as the notifier does."""

    def __init__(self, services: FakeServices) -> None:
        self.mails: list[dict[str, Any]] = []
        self.charges: list[dict[str, Any]] = []
        self.names = {"cus_1": "Maria Lopez", "cus_2": "Joe Park", "cus_3": "Ann Lee"}
        self.owners: dict[str, str] = {}
        """The businesses of customers; else sunrise."""
        self.modes = {"sunrise": "observe"}
        self.never_observed: set[str] = set()
        """Businesses that are live without a line."""
        self.installation_observes = False
        self.accepted: list[str] = []
        self.before: set[str] = set()
        """What was accepted before."""
        self.unwelcomed = 0
        """Who waits to be welcomed."""
        self.limit = 2
        """Rows of a page, whatever is asked for."""
        services.answers |= {
            ("notifier", "observed"): self._observed,
            ("notifier", "accept_observed"): self._accept,
            ("notifier", "story"): self._story,
            ("notifier", "welcomes"): self._welcomes,
            ("billing", "observed_charges"): self._charges,
            ("portal", "recipients"): self._recipients,
            ("portal", "businesses_modes"): self._modes,
            ("portal", "set_mode"): self._set_mode,
        }

    def _observed(
        self,
        limit: int,
        business_id: str | None = None,
        starting_after: str | None = None,
        **_: Any,
    ) -> Any:
        told = sorted(self.mails, key=lambda one: one["business_id"])
        told = [one for one in told if business_id in (None, one["business_id"])]
        names = [one["notification_id"] for one in told]
        start = names.index(starting_after) + 1 if starting_after else 0
        end = start + min(limit, self.limit)
        return {"notifications": told[start:end], "has_more": end < len(told)}

    def _charges(self, since: str, limit: int, starting_after: str | None = None) -> Any:
        start = int(starting_after or 0)
        end = start + min(limit, self.limit)
        more = end < len(self.charges)
        return {"charges": self.charges[start:end], "next": str(end) if more else None}

    def _recipients(self, customers: list[str], addresses: bool = False, **_: Any) -> Any:
        return {
            id: {
                "customer_id": "C" * 22,
                "business_id": self.owners.get(id, "sunrise"),
                "external_id": id.removeprefix("cus_"),
                "name": self.names[id],
                "email": "maria@example.com" if addresses else "m•••@e•••.com",
            }
            for id in customers
            if id in self.names
        }

    def _mode(self, business_id: str) -> dict[str, Any]:
        mode = self.modes[business_id]
        return {
            "business_id": business_id,
            "name": business_id.capitalize(),
            "mode": mode,
            "live_since": MOMENT
            if mode == "live" and business_id not in self.never_observed
            else None,
            "observed": mode == "observe" or self.installation_observes,
            "installation_observes": self.installation_observes,
        }

    def _modes(self, business_id: str | None = None, after: str | None = None, **_: Any) -> Any:
        if business_id is None:
            return [self._mode(one) for one in sorted(self.modes) if after is None or one > after]
        if business_id not in self.modes:
            raise Fault("NotFound", "business_id: no such business")
        return [self._mode(business_id)]

    def _set_mode(self, business_id: str, mode: str) -> Any:
        self.modes[business_id] = mode
        self.never_observed.discard(business_id)
        return self._mode(business_id)

    def _accept(self, notification_ids: list[str]) -> Any:
        self.accepted += notification_ids
        told = [one for one in self.mails if one["notification_id"] in notification_ids]
        self.mails = [one for one in self.mails if one["notification_id"] not in notification_ids]
        return [{**one, "accepted": True, "status": "pending"} for one in told]

    def _welcomes(self, business_id: str) -> Any:
        ended = (
            "sending",
            "sent",
            "delivered",
            "bounced",
            "observed",
            "suppressed",
            "failed",
            "earlier",
        )
        return {"business_id": business_id, "waiting": self.unwelcomed, **dict.fromkeys(ended, 0)}

    def _story(self, notification_id: str) -> Any:
        steps = ["notified", "observed"]
        if notification_id in self.before:
            steps.append("accepted")
        elif notification_id == "ntf_sent":
            steps = ["notified", "sent"]
        elif not any(one["notification_id"] == notification_id for one in self.mails):
            steps = []
        step = {"at": MOMENT, "service": "notifier", "text": "told"}
        return {"steps": [{**step, "step": one} for one in steps]}
