"""The ledger rules' questions. Each takes ``:sale`` and yields a row for every place where its rule does not hold.

Adding up is left to PostgreSQL: a sale of 100,000 orders would otherwise cross the wire every few seconds.
"""

BROKEN_COUNTERS = """
    SELECT id AS item_id, sku, allotment, available, reserved, sold FROM sale_items
    WHERE sale_id = :sale
      AND (available + reserved + sold <> allotment OR least(available, reserved, sold) < 0)
"""

# Two histories of a fork have the same entry ids; what a rebuild brought in of one of them is marked.
DUPLICATE_DECISIONS = """
    SELECT 'Journal entry' AS what, item_id || ' ' || generation || '-' || seq AS reference, count(*) AS times
    FROM reservations WHERE sale_id = :sale AND NOT recovered
    GROUP BY item_id, lane, generation, seq HAVING count(*) > 1
    UNION ALL
    SELECT 'Reservation', id::text, count(*) FROM reservations
    WHERE sale_id = :sale GROUP BY id HAVING count(*) > 1
    UNION ALL
    SELECT 'The order of reservation', reservation_id::text, count(*) FROM orders
    WHERE sale_id = :sale GROUP BY reservation_id HAVING count(*) > 1
    UNION ALL
    SELECT 'The ' || kind || ' of reservation', reservation_id::text, count(*) FROM ledger_entries
    WHERE sale_id = :sale AND reservation_id IS NOT NULL GROUP BY reservation_id, kind HAVING count(*) > 1
"""

LIMITS_PASSED = """
    SELECT i.id AS item_id, i.sku, r.shopper_id, sum(r.quantity) AS units, i.per_shopper_limit
    FROM reservations r JOIN sale_items i ON i.id = r.item_id
    WHERE r.sale_id = :sale AND r.status IN ('reserved', 'confirmed')
    GROUP BY i.id, i.sku, r.shopper_id, i.per_shopper_limit HAVING sum(r.quantity) > i.per_shopper_limit
"""

# An outbox row names the journal entry whose claim it gives back: one id that took units twice has two.
GIVEN_BACK_WRONGLY = """
    SELECT r.id AS reservation_id, min(o.id::text) AS outbox_id, r.status, r.quantity,
           sum(o.quantity) AS given_back
    FROM gate_outbox o
    JOIN reservations r ON r.id = o.reservation_id AND r.generation = o.generation AND r.seq = o.seq
    WHERE o.sale_id = :sale AND o.status <> 'superseded'
    GROUP BY r.id, r.status, r.quantity
    HAVING r.status IN ('reserved', 'confirmed') OR sum(o.quantity) > r.quantity OR count(*) > 1
"""

# A paid order of a cancelled sale is refunded, while its units stay sold.
STATES_APART = """
    SELECT r.id AS reservation_id, o.id AS order_id, r.status AS reservation_status, o.status AS order_status
    FROM reservations r JOIN sales s ON s.id = r.sale_id LEFT JOIN orders o ON o.reservation_id = r.id
    WHERE r.sale_id = :sale AND (
        o.id IS NULL
        OR (r.status = 'reserved') <> (r.ended_at IS NULL)
        OR CASE WHEN o.status IN ('refund_due', 'refunded')
                THEN NOT (r.status IN ('expired', 'cancelled', 'rejected')
                          OR r.status = 'confirmed' AND (s.stage = 'cancelled' OR s.cancelled_at IS NOT NULL))
                ELSE o.status <> r.status END)
"""

# A confirmed order that had a time to pay by was waiting for money; one without was free of payment. Capture and
# settlement are two transactions, the second within milliseconds or with the sweep: between them nothing is amiss.
# A payment that came after its hold had expired may have bought again: that reservation's id is the payment's, and
# its order is the paid one, while the first stays as it ended.
PAYMENTS_UNSETTLED = """
    SELECT o.id AS order_id, p.id AS payment_id, o.status AS order_status
    FROM orders o JOIN payments p ON p.order_id = o.id
    WHERE o.sale_id = :sale AND p.status = 'captured'
      AND (p.settled_at IS NOT NULL OR p.captured_at < clock_timestamp() - interval '1 minute')
      AND (o.paid_at IS NULL OR o.status NOT IN ('confirmed', 'refund_due', 'refunded'))
      AND NOT EXISTS (SELECT 1 FROM orders again WHERE again.reservation_id = p.id AND again.paid_at IS NOT NULL
                      AND again.status IN ('confirmed', 'refund_due', 'refunded'))
    UNION ALL
    SELECT again.id, p.id, o.status || ' and ' || again.status
    FROM orders o JOIN payments p ON p.order_id = o.id JOIN orders again ON again.reservation_id = p.id
    WHERE o.sale_id = :sale AND (o.paid_at IS NOT NULL OR p.status <> 'captured')
    UNION ALL
    SELECT o.id, NULL, o.status
    FROM orders o
    WHERE o.sale_id = :sale
      AND (o.paid_at IS NOT NULL OR o.status IN ('refund_due', 'refunded')
           OR o.status = 'confirmed' AND o.pay_by IS NOT NULL)
      AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.order_id = o.id AND p.status = 'captured')
      AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.id = o.reservation_id AND p.status = 'captured')
"""

# The gate counts in whole milliseconds, so the opening is rounded down like there.
EARLY_RESERVATIONS = """
    SELECT r.id AS reservation_id, i.sku,
           ceil(extract(epoch FROM date_trunc('milliseconds', s.opens_at) - r.admitted_at) * 1000) AS early_ms
    FROM reservations r JOIN sales s ON s.id = r.sale_id JOIN sale_items i ON i.id = r.item_id
    WHERE r.sale_id = :sale AND r.admitted_at < date_trunc('milliseconds', s.opens_at)
"""

SUMS_APART = """
    WITH entries AS (
        SELECT item_id, sum(allotment_delta) AS allotment, sum(available_delta) AS available,
               sum(reserved_delta) AS reserved, sum(sold_delta) AS sold
        FROM ledger_entries WHERE sale_id = :sale GROUP BY item_id
    ), live AS (
        SELECT item_id, sum(quantity) FILTER (WHERE status = 'reserved') AS reserved,
               sum(quantity) FILTER (WHERE status = 'confirmed') AS sold
        FROM reservations WHERE sale_id = :sale GROUP BY item_id
    )
    SELECT i.id AS item_id, i.sku, c.counter, c.counted, coalesce(c.entries, 0) AS entries, c.reservations
    FROM sale_items i
    LEFT JOIN entries e ON e.item_id = i.id
    LEFT JOIN live l ON l.item_id = i.id
    CROSS JOIN LATERAL (VALUES
        ('allotment', i.allotment, e.allotment, NULL::bigint),
        ('available', i.available, e.available, NULL),
        ('reserved', i.reserved, e.reserved, coalesce(l.reserved, 0)),
        ('sold', i.sold, e.sold, coalesce(l.sold, 0))
    ) AS c (counter, counted, entries, reservations)
    WHERE i.sale_id = :sale
      AND EXISTS (SELECT 1 FROM journal_cursors j WHERE j.item_id = i.id)
      AND (c.counted <> coalesce(c.entries, 0) OR c.counted <> coalesce(c.reservations, c.counted))
"""

ENTRIES_APART = """
    SELECT r.id AS reservation_id, r.status, r.quantity, e.kinds
    FROM reservations r LEFT JOIN LATERAL (
        SELECT string_agg(l.kind, ' ' ORDER BY l.kind) AS kinds, bool_and(l.quantity = r.quantity) AS same
        FROM ledger_entries l WHERE l.reservation_id = r.id
    ) e ON true
    WHERE r.sale_id = :sale AND (
        e.same IS NOT TRUE
        OR CASE r.status
            WHEN 'reserved' THEN e.kinds <> 'reserve'
            WHEN 'confirmed' THEN e.kinds <> 'reserve sell'
            WHEN 'expired' THEN e.kinds <> 'release reserve'
            WHEN 'cancelled' THEN e.kinds NOT IN ('release reserve', 'release reserve sell')
            ELSE e.kinds <> 'reject' END)
"""

# Two minutes: an outage of any one part may last 60 s, and the relay and the drain then have as long again.
NOT_GIVEN_BACK = """
    SELECT o.id AS outbox_id, i.sku, o.status, o.quantity,
           floor(extract(epoch FROM clock_timestamp() - o.created_at)) AS age_s
    FROM gate_outbox o JOIN sale_items i ON i.id = o.item_id
    WHERE o.sale_id = :sale AND (o.status = 'refused'
        OR o.status = 'pending' AND o.created_at < clock_timestamp() - interval '2 minutes')
"""
