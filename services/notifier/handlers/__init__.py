"""The notifier's use cases: plain functions of a session, ports and a message. No nameko, no sendgrid."""
