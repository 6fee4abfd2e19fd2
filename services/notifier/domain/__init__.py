"""The notifier's rules: which failure becomes an email, when, and what an answer of SendGrid means. Pure functions.

Standard library only, and no clock and no randomness of their own: both come in as arguments.
"""
