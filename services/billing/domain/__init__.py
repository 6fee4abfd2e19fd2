"""The rules of billing, pure: no clock, no network.

Amounts are in the currency's minor unit, moments are aware datetimes in UTC.
"""
