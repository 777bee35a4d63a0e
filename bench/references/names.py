"""What the halves of a reference agree on: variables of their environment and keys in their store."""

GATE_URL = "REFERENCE_GATE_URL"
BROKER_URL = "REFERENCE_BROKER_URL"
DATABASE_URL = "REFERENCE_DATABASE_URL"

# The bare composition's keys.
STOCK, CLAIMS, BUCKET, JOURNAL, APPLIED = "stock", "claims", "bucket", "journal", "applied"

# The textbook design's, beside STOCK.
SESSION, WINDOW, BOUGHT, TRIED, RATE = "session:", "window", "bought:", "tried:", "rate:"

# What both callers of claim-4.lua ask: a repeat window in ms, ms between tokens, a burst. The bucket never refuses.
CLAIM_TERMS = (10_000, 0.01, 1_000_000)
