"""Use cases of billing: plain functions of transactions, ports and a message. No nameko, no stripe.

`Transactions` is the one thing of `shared` that they take: a use case that calls Stripe between two
transactions must be able to close the first before the call.
"""
