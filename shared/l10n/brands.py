"""What card networks and wallets call themselves: the same in every language."""

from __future__ import annotations

from typing import Final

_CARDS: Final = {
    "amex": "American Express",
    "cartes_bancaires": "Cartes Bancaires",
    "diners": "Diners Club",
    "discover": "Discover",
    "eftpos_au": "eftpos",
    "girocard": "girocard",
    "jcb": "JCB",
    "link": "Link",
    "mastercard": "Mastercard",
    "unionpay": "UnionPay",
    "visa": "Visa",
    # As sources spell them (https://docs.stripe.com/api/cards/object#card_object-brand), in lower case.
    "american express": "American Express",
    "diners club": "Diners Club",
    "eftpos australia": "eftpos",
}
_WALLETS: Final = {
    "alipay": "Alipay",
    "amazon_pay": "Amazon Pay",
    "cashapp": "Cash App Pay",
    "kakao_pay": "Kakao Pay",
    "link": "Link",
    "mobilepay": "MobilePay",
    "naver_pay": "Naver Pay",
    "paypal": "PayPal",
    "revolut_pay": "Revolut Pay",
    "wechat_pay": "WeChat Pay",
}


def card_brand(brand: str | None) -> str | None:
    """The name of a card's brand, from Stripe's word for it (`visa`, of a source `Visa`); None for one that isn't known.

    https://docs.stripe.com/api/payment_methods/object#payment_method_object-card-brand
    """
    return _CARDS.get((brand or "").lower())


def wallet(type_: str | None) -> str | None:
    """The name of a wallet, from the `type` of Stripe's payment method; None where it is none."""
    return _WALLETS.get(type_ or "")


def masked(name: str, last4: str) -> str:
    """A card or an account as a row of facts has it: `Visa •••• 4242`, as on Stripe's pages. No line ends within its number."""
    return f"{name} ••••\N{NO-BREAK SPACE}{last4}".strip()
