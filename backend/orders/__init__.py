"""Orders: journals drained into the ledger, holds that expire, units given back, cancellations."""

from backend.orders.by_operator import cancel_by_operator, mark_refunded
from backend.orders.delivery import delivery_for, delivery_of, keep_delivery
from backend.orders.drain import Drain, Drained
from backend.orders.expiry import expire_due
from backend.orders.faults import record_fault
from backend.orders.listing import order_of, orders_of
from backend.orders.recovery import ClaimsApart, Recovery
from backend.orders.relay import relay_all, relay_lane
from backend.orders.repository_reads import ClaimRow, TicketRow
from backend.orders.repository_shopper import ShopperOrder
from backend.orders.service import (
    cancel_order,
    cancel_sale,
    claims_of_shopper,
    opening_of,
    sale_exists,
    ticket_rows,
)
from backend.orders.settlement import Settlement, Settlements, confirm_paid, settle_captured

__all__ = [
    "ClaimRow",
    "ClaimsApart",
    "Drain",
    "Drained",
    "Recovery",
    "Settlement",
    "Settlements",
    "ShopperOrder",
    "TicketRow",
    "cancel_by_operator",
    "cancel_order",
    "cancel_sale",
    "claims_of_shopper",
    "confirm_paid",
    "delivery_for",
    "delivery_of",
    "expire_due",
    "keep_delivery",
    "mark_refunded",
    "opening_of",
    "order_of",
    "orders_of",
    "record_fault",
    "relay_all",
    "relay_lane",
    "sale_exists",
    "settle_captured",
    "ticket_rows",
]
