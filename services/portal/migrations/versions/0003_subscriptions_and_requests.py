"""Subscriptions, requests to cancel them, the card of a failed charge, and what customers may do

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op


revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column('businesses', sa.Column('may_cancel', sa.Boolean(), nullable=True))
    op.add_column('businesses', sa.Column('may_cancel_checked_at', MOMENT, nullable=True))
    op.add_column('invoices', sa.Column('card_brand', sa.String(length=30), nullable=True))
    op.add_column('invoices', sa.Column('card_last4', sa.String(length=4), nullable=True))
    op.add_column('invoices', sa.Column('card_exp_month', sa.Integer(), nullable=True))
    op.add_column('invoices', sa.Column('card_exp_year', sa.Integer(), nullable=True))
    op.add_column('invoices', sa.Column('card_of_failure', MOMENT, nullable=True))
    op.create_table('subscriptions',
    sa.Column('id', KEY, nullable=False),
    sa.Column('subscription_id', sa.String(length=255), nullable=False),
    sa.Column('stripe_customer_id', sa.String(length=255), nullable=False),
    sa.Column('status', sa.String(length=30), nullable=False),
    sa.Column('ends_at', MOMENT, nullable=True),
    sa.Column('current_period_end', MOMENT, nullable=True),
    sa.Column('description', sa.String(length=200), nullable=True),
    sa.Column('amount', sa.BigInteger(), nullable=True),
    sa.Column('currency', sa.String(length=3), nullable=True),
    sa.Column('interval', sa.String(length=10), nullable=True),
    sa.Column('interval_count', sa.Integer(), nullable=False),
    sa.Column('as_of', MOMENT, nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_subscriptions')),
    sa.UniqueConstraint('subscription_id', name=op.f('uq_subscriptions_subscription_id'))
    )
    op.create_index(op.f('ix_subscriptions_stripe_customer_id'), 'subscriptions', ['stripe_customer_id'])
    op.create_table('cancellation_requests',
    sa.Column('id', KEY, nullable=False),
    sa.Column('request_id', sa.String(length=22), nullable=False),
    sa.Column('customer_pk', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('stripe_customer_id', sa.String(length=255), nullable=False),
    sa.Column('subscription_id', sa.String(length=255), nullable=False),
    sa.Column('status', sa.String(length=20), nullable=False),
    sa.Column('asked_at', MOMENT, nullable=False),
    sa.Column('decided_at', MOMENT, nullable=True),
    sa.Column('business_told_at', MOMENT, nullable=True),
    sa.Column('carried_out_at', MOMENT, nullable=True),
    sa.Column('ends_at', MOMENT, nullable=True),
    sa.Column('customer_told_at', MOMENT, nullable=True),
    sa.Column('next_try_at', MOMENT, nullable=True),
    sa.Column('tries', sa.Integer(), nullable=False),
    sa.Column('last_error', sa.String(length=200), nullable=True),
    sa.ForeignKeyConstraint(['customer_pk'], ['customers.id'], name=op.f('fk_cancellation_requests_customer_pk_customers')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_cancellation_requests')),
    sa.UniqueConstraint('request_id', name=op.f('uq_cancellation_requests_request_id'))
    )
    op.create_index(op.f('ix_cancellation_requests_customer_pk'), 'cancellation_requests', ['customer_pk'])
    op.create_index(op.f('ix_cancellation_requests_subscription_id'), 'cancellation_requests', ['subscription_id'])
    op.create_index('uq_cancellation_requests_open', 'cancellation_requests', ['subscription_id'], unique=True,
                    postgresql_where=sa.text("status = 'open'"), sqlite_where=sa.text("status = 'open'"))
    op.create_index('ix_cancellation_requests_due', 'cancellation_requests', ['next_try_at'],
                    postgresql_where=sa.text('next_try_at IS NOT NULL'), sqlite_where=sa.text('next_try_at IS NOT NULL'))


def downgrade() -> None:
    op.drop_table('cancellation_requests')
    op.drop_table('subscriptions')
    for column in ('card_of_failure', 'card_exp_year', 'card_exp_month', 'card_last4', 'card_brand'):
        op.drop_column('invoices', column)
    op.drop_column('businesses', 'may_cancel_checked_at')
    op.drop_column('businesses', 'may_cancel')
