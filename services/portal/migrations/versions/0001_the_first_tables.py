"""The first tables

Revision ID: 0001
Revises: 
"""

import sqlalchemy as sa
from alembic import op


revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('businesses',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('business_id', sa.String(length=100), nullable=False),
    sa.Column('name', sa.String(length=200), nullable=False),
    sa.Column('email', sa.String(length=320), nullable=True),
    sa.Column('phone', sa.String(length=50), nullable=True),
    sa.Column('website', sa.String(length=500), nullable=True),
    sa.Column('logo_url', sa.String(length=500), nullable=True),
    sa.Column('color', sa.String(length=7), nullable=True),
    sa.Column('locale', sa.String(length=35), nullable=False),
    sa.Column('timezone', sa.String(length=64), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_businesses')),
    sa.UniqueConstraint('business_id', name=op.f('uq_businesses_business_id'))
    )
    op.create_table('deleted_stripe_customers',
    sa.Column('stripe_customer_id', sa.String(length=255), nullable=False),
    sa.Column('deleted_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('stripe_customer_id', name=op.f('pk_deleted_stripe_customers'))
    )
    op.create_table('invoices',
    sa.Column('invoice_id', sa.String(length=255), nullable=False),
    sa.Column('stripe_customer_id', sa.String(length=255), nullable=False),
    sa.Column('status', sa.String(length=20), nullable=False),
    sa.Column('currency', sa.String(length=3), nullable=False),
    sa.Column('amount_due', sa.BigInteger(), nullable=False),
    sa.Column('amount_remaining', sa.BigInteger(), nullable=False),
    sa.Column('attempt_count', sa.Integer(), nullable=False),
    sa.Column('collection_method', sa.String(length=30), nullable=False),
    sa.Column('billing_reason', sa.String(length=50), nullable=True),
    sa.Column('number', sa.String(length=100), nullable=True),
    sa.Column('subscription_id', sa.String(length=255), nullable=True),
    sa.Column('next_payment_attempt', sa.DateTime(timezone=True), nullable=True),
    sa.Column('as_of', sa.DateTime(timezone=True), nullable=True),
    sa.Column('first_failed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('last_failed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('last_failure_own', sa.Boolean(), nullable=False),
    sa.Column('action_required_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('closed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('method_changed_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('invoice_id', name=op.f('pk_invoices'))
    )
    with op.batch_alter_table('invoices', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_invoices_stripe_customer_id_status'), ['stripe_customer_id', 'status'], unique=False)

    op.create_table('link_conflicts',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('stripe_customer_id', sa.String(length=255), nullable=False),
    sa.Column('customer_id', sa.String(length=22), nullable=False),
    sa.Column('reason', sa.String(length=40), nullable=False),
    sa.Column('evidence', sa.String(length=50), nullable=False),
    sa.Column('event_id', sa.String(length=255), nullable=False),
    sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_link_conflicts')),
    sa.UniqueConstraint('stripe_customer_id', 'customer_id', name=op.f('uq_link_conflicts_stripe_customer_id_customer_id'))
    )
    op.create_table('method_changes',
    sa.Column('stripe_customer_id', sa.String(length=255), nullable=False),
    sa.Column('subscription_id', sa.String(length=255), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('stripe_customer_id', 'subscription_id', name=op.f('pk_method_changes'))
    )
    op.create_table('processed_events',
    sa.Column('event_id', sa.String(length=255), nullable=False),
    sa.Column('processed_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('event_id', name=op.f('pk_processed_events'))
    )
    with op.batch_alter_table('processed_events', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_processed_events_processed_at'), ['processed_at'], unique=False)

    op.create_table('waiting_links',
    sa.Column('stripe_customer_id', sa.String(length=255), nullable=False),
    sa.Column('customer_ref', sa.String(length=255), nullable=False),
    sa.Column('business_ref', sa.String(length=255), nullable=True),
    sa.Column('evidence', sa.String(length=50), nullable=False),
    sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('stripe_customer_id', name=op.f('pk_waiting_links'))
    )
    with op.batch_alter_table('waiting_links', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_waiting_links_customer_ref'), ['customer_ref'], unique=False)

    op.create_table('customers',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('public_id', sa.String(length=22), nullable=False),
    sa.Column('business_pk', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('external_id', sa.String(length=100), nullable=False),
    sa.Column('name', sa.String(length=200), nullable=False),
    sa.Column('email', sa.String(length=320), nullable=False),
    sa.Column('locale', sa.String(length=35), nullable=True),
    sa.Column('timezone', sa.String(length=64), nullable=True),
    sa.Column('platform_stripe_customer_id', sa.String(length=255), nullable=True),
    sa.Column('link_generation', sa.BigInteger(), nullable=False),
    sa.Column('fresh_link_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('billing_opened_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['business_pk'], ['businesses.id'], name=op.f('fk_customers_business_pk_businesses')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_customers')),
    sa.UniqueConstraint('business_pk', 'external_id', name=op.f('uq_customers_business_pk_external_id')),
    sa.UniqueConstraint('platform_stripe_customer_id', name=op.f('uq_customers_platform_stripe_customer_id')),
    sa.UniqueConstraint('public_id', name=op.f('uq_customers_public_id'))
    )
    op.create_table('appointments',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('customer_pk', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('external_id', sa.String(length=100), nullable=False),
    sa.Column('title', sa.String(length=200), nullable=False),
    sa.Column('starts_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('location', sa.String(length=200), nullable=True),
    sa.Column('status', sa.String(length=20), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['customer_pk'], ['customers.id'], name=op.f('fk_appointments_customer_pk_customers')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_appointments')),
    sa.UniqueConstraint('customer_pk', 'external_id', name=op.f('uq_appointments_customer_pk_external_id'))
    )
    with op.batch_alter_table('appointments', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_appointments_customer_pk_starts_at'), ['customer_pk', 'starts_at'], unique=False)



def downgrade() -> None:
    with op.batch_alter_table('appointments', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_appointments_customer_pk_starts_at'))

    op.drop_table('appointments')
    op.drop_table('customers')
    with op.batch_alter_table('waiting_links', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_waiting_links_customer_ref'))

    op.drop_table('waiting_links')
    with op.batch_alter_table('processed_events', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_processed_events_processed_at'))

    op.drop_table('processed_events')
    op.drop_table('method_changes')
    op.drop_table('link_conflicts')
    with op.batch_alter_table('invoices', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_invoices_stripe_customer_id_status'))

    op.drop_table('invoices')
    op.drop_table('deleted_stripe_customers')
    op.drop_table('businesses')
