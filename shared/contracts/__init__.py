"""What several services must mean alike: rules and vocabulary, pure and without any framework.

Services import these rules instead of each other; the facts that a rule needs travel in the events.
"""
