CREATE TABLE items (id integer PRIMARY KEY, available integer NOT NULL CHECK (available >= 0));
CREATE TABLE orders (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    item_id integer NOT NULL REFERENCES items (id),
    shopper_id text NOT NULL,
    idempotency_key text NOT NULL UNIQUE,
    quantity integer NOT NULL,
    price_minor bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_orders_shopper_id ON orders (shopper_id);
