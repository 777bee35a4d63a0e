CREATE TABLE stock (id integer PRIMARY KEY, available integer NOT NULL CHECK (available >= 0));
CREATE TABLE orders (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    reservation text NOT NULL UNIQUE,
    shopper text NOT NULL,
    price_minor bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
