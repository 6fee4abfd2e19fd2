#!/bin/sh
# Generated from shared/messaging/rights.py (`make docs`); change that, not this file.
# What each user may do in the virtual host portico; docs/without-kubernetes.md makes the users. Safe to run again.
set -eu

rabbitmqctl -q set_permissions -p portico portal '^(rpc-portal|rpc\.reply-portal-.*|portal\.billing-events(\.dead|\.retry\.[0-9]+s)?|portal\.billing-evidence(\.dead|\.retry\.[0-9]+s)?|portal\.events)$' '^(rpc-portal|rpc\.reply-portal-.*|portal\.billing-events(\.dead|\.retry\.[0-9]+s)?|portal\.billing-evidence(\.dead|\.retry\.[0-9]+s)?|notifier\.portal-events|nameko-rpc|amq\.topic|portal\.events|dead|amq\.default)$' '^(rpc-portal|rpc\.reply-portal-.*|portal\.billing-events(\.dead|\.retry\.[0-9]+s)?|portal\.billing-evidence(\.dead|\.retry\.[0-9]+s)?|nameko-rpc|amq\.topic|dead|billing\.events|portal\.events)$'
rabbitmqctl -q set_topic_permissions -p portico portal nameko-rpc '^(billing\.cancel_at_period_end|billing\.create_portal_session|billing\.customers_may|billing\.hosted_invoice_url|billing\.invoice_states|billing\.subscription_prices|notifier\.send_business_mail|notifier\.send_customer_mail|notifier\.send_fresh_link|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$' '^(portal\.\*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$'
rabbitmqctl -q set_topic_permissions -p portico portal amq.topic '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' '^portal\.\*$'
rabbitmqctl -q set_topic_permissions -p portico portal dead '^$' '^(portal\.billing-events|portal\.billing-evidence)$'
rabbitmqctl -q set_topic_permissions -p portico portal billing.events '^$' '^(customer\.deleted|customer\.evidence_changed|customer\.linked|customer\.payment_method_changed|invoice\.marked_uncollectible|invoice\.paid|invoice\.payment_action_required|invoice\.payment_failed|invoice\.updated|invoice\.voided|subscription\.cancellation_scheduled|subscription\.ended|subscription\.updated)$'
rabbitmqctl -q set_topic_permissions -p portico portal portal.events '.*' '^customer\.link_changed$'

rabbitmqctl -q set_permissions -p portico billing '^(rpc-billing|rpc\.reply-cli-.*|billing\.billing-events(\.dead|\.retry\.[0-9]+s)?|billing\.events|nameko-rpc|dead)$' '^(rpc-billing|rpc\.reply-cli-.*|billing\.billing-events(\.dead|\.retry\.[0-9]+s)?|portal\.billing-events|portal\.billing-evidence|notifier\.billing-events|nameko-rpc|amq\.topic|billing\.events|dead|amq\.default)$' '^(rpc-billing|rpc\.reply-cli-.*|billing\.billing-events(\.dead|\.retry\.[0-9]+s)?|portal\.billing-events\.dead|portal\.billing-evidence\.dead|notifier\.billing-events\.dead|notifier\.portal-events\.dead|nameko-rpc|amq\.topic|dead|billing\.events)$'
rabbitmqctl -q set_topic_permissions -p portico billing nameko-rpc '^(billing\.collect_invoice|billing\.erase_customer|billing\.inbox_event|billing\.inbox_events|billing\.note_dead_letter|billing\.reconcile|billing\.replay|billing\.republish|billing\.story|notifier\.cancel|notifier\.erase_customer|notifier\.notifications|notifier\.resend|notifier\.resend_failed|notifier\.stats|notifier\.story|portal\.erase_customer|portal\.export_customers|portal\.find_customer|portal\.import_customers|portal\.link|portal\.link_customer|portal\.link_evidence|portal\.rotate_link|portal\.story|portal\.unknown_links|portal\.unlink_customer|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$' '^(billing\.\*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$'
rabbitmqctl -q set_topic_permissions -p portico billing amq.topic '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' '^billing\.\*$'
rabbitmqctl -q set_topic_permissions -p portico billing dead '^$' '^billing\.billing-events$'
rabbitmqctl -q set_topic_permissions -p portico billing billing.events '.*' '^(customer\.deleted|customer\.evidence_changed|customer\.linked|customer\.payment_method_changed|invoice\.marked_uncollectible|invoice\.paid|invoice\.payment_action_required|invoice\.payment_failed|invoice\.updated|invoice\.voided|subscription\.cancellation_scheduled|subscription\.ended|subscription\.updated)$'

rabbitmqctl -q set_permissions -p portico notifier '^(rpc-notifier|rpc\.reply-notifier-.*|notifier\.billing-events(\.dead|\.retry\.[0-9]+s)?|notifier\.portal-events(\.dead|\.retry\.[0-9]+s)?|notifier\.events)$' '^(rpc-notifier|rpc\.reply-notifier-.*|notifier\.billing-events(\.dead|\.retry\.[0-9]+s)?|notifier\.portal-events(\.dead|\.retry\.[0-9]+s)?|nameko-rpc|amq\.topic|notifier\.events|dead|amq\.default)$' '^(rpc-notifier|rpc\.reply-notifier-.*|notifier\.billing-events(\.dead|\.retry\.[0-9]+s)?|notifier\.portal-events(\.dead|\.retry\.[0-9]+s)?|nameko-rpc|amq\.topic|dead|billing\.events|portal\.events)$'
rabbitmqctl -q set_topic_permissions -p portico notifier nameko-rpc '^(billing\.invoice_state|billing\.invoice_states|portal\.cancellation_links|portal\.contact|portal\.contacts|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$' '^(notifier\.\*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$'
rabbitmqctl -q set_topic_permissions -p portico notifier amq.topic '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' '^notifier\.\*$'
rabbitmqctl -q set_topic_permissions -p portico notifier dead '^$' '^(notifier\.billing-events|notifier\.portal-events)$'
rabbitmqctl -q set_topic_permissions -p portico notifier billing.events '^$' '^(customer\.deleted|invoice\.marked_uncollectible|invoice\.paid|invoice\.payment_action_required|invoice\.payment_failed|invoice\.updated|invoice\.voided|subscription\.cancellation_scheduled|subscription\.ended|subscription\.updated)$'
rabbitmqctl -q set_topic_permissions -p portico notifier notifier.events '.*' '^$'
rabbitmqctl -q set_topic_permissions -p portico notifier portal.events '^$' '^customer\.link_changed$'

rabbitmqctl -q set_permissions -p portico host '^(rpc\.reply-(host|standalone_rpc_proxy)-.*|host\..*)$' '^(rpc\.reply-(host|standalone_rpc_proxy)-.*|host\..*|amq\.topic)$' '^(rpc\.reply-(host|standalone_rpc_proxy)-.*|host\..*|amq\.topic|billing\.events|notifier\.events|portal\.events)$'
rabbitmqctl -q set_topic_permissions -p portico host amq.topic '^(portal\.checkout_reference|portal\.link|portal\.link_customer|portal\.link_evidence|portal\.lookup|portal\.rotate_link|portal\.unknown_links|portal\.unlink_customer|portal\.upsert_appointments|portal\.upsert_business|portal\.upsert_customer)$' '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
rabbitmqctl -q set_topic_permissions -p portico host billing.events '^$' '.*'
rabbitmqctl -q set_topic_permissions -p portico host notifier.events '^$' '.*'
rabbitmqctl -q set_topic_permissions -p portico host portal.events '^$' '.*'

# Calls that nobody waits for any more must not fill the broker: past this length the caller is refused at once.
rabbitmqctl -q set_policy -p portico --priority 10 --apply-to queues rpc-requests '^rpc-(portal|billing|notifier)$' '{"max-length": 10000, "overflow": "reject-publish"}'
