// What the sale is doing, from state.json: a small file served by nginx, so looking costs the API
// nothing. Without it (or while it is old) the stored times decide: a sale opens by its time, not by
// a message.

const LOOK_MS = 3500; // give or take 1.5 s: a crowd does not ask in step
const LOOK_SPREAD_MS = 1500;
const NEAR_MS = 1500; // around the opening
const NEAR_SPREAD_MS = 500;
const NEAR_WINDOW_MS = 15_000;
const FAR_MS = 10_000; // more than ten minutes to go
const FAR_WINDOW_MS = 600_000;
const QUIET_MS = 30_000; // over, or the tab is in the background
const FAILED_MS = 5000;
const FAILED_MOST_MS = 30_000;
const TIMEOUT_MS = 8000;

const STANDING = new Set(["paused", "sold_out", "ended", "cancelled"]);

export class Feed {
  constructor({ slug, clock, opensAtMs, closesAtMs, onChange }) {
    this.path = `/s/${slug}/state.json`;
    this.clock = clock;
    this.opensAtMs = opensAtMs;
    this.closesAtMs = closesAtMs;
    this.onChange = onChange;
    this.state = null;
    this.failures = 0;
    this.timer = null;
  }

  start() {
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#look();
    });
    addEventListener("online", () => this.#look());
    this.#look();
  }

  /** `upcoming live paused sold_out ended cancelled`, now. */
  phase() {
    const now = this.clock.now();
    const said = this.state?.phase;
    if (said === "cancelled" || said === "ended") return said;
    if (now >= this.closesAtMs) return "ended";
    if (now < this.opensAtMs) return "upcoming";
    return STANDING.has(said) ? said : "live";
  }

  /** `{soldOut, few}` of one item. */
  item(sku) {
    const item = this.state?.items?.[sku];
    return {
      soldOut: item?.phase === "sold_out" || this.phase() === "sold_out",
      few: item?.available_hint === "few",
    };
  }

  async #look() {
    clearTimeout(this.timer);
    const sent = performance.now();
    try {
      const response = await fetch(this.path, {
        cache: "no-store",
        credentials: "omit",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      const received = performance.now();
      this.clock.header(response.headers.get("Date"), sent, received);
      if (!response.ok) throw new Error(`state.json: ${response.status}`);
      this.#take(await response.json(), received);
      this.failures = 0;
    } catch {
      this.failures += 1;
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#look(), this.#pause());
    this.onChange();
  }

  #take(state, received) {
    this.state = state;
    if (Number.isFinite(state.at_ms)) this.clock.atLeast(state.at_ms, received);
    // An operator may have moved the sale since the page was published.
    if (Number.isFinite(state.opens_at_ms)) this.opensAtMs = state.opens_at_ms;
    if (Number.isFinite(state.closes_at_ms)) this.closesAtMs = state.closes_at_ms;
  }

  #pause() {
    const toOpening = this.opensAtMs - this.clock.now();
    const phase = this.phase();
    if (this.failures > 0) {
      return jittered(Math.min(FAILED_MS * this.failures, FAILED_MOST_MS), LOOK_SPREAD_MS);
    }
    if (document.hidden || phase === "ended" || phase === "cancelled") return QUIET_MS;
    if (Math.abs(toOpening) < NEAR_WINDOW_MS) return jittered(NEAR_MS, NEAR_SPREAD_MS);
    // Never sleep past the quick time before the opening.
    if (toOpening > FAR_WINDOW_MS) return jittered(FAR_MS, LOOK_SPREAD_MS);
    return jittered(LOOK_MS, LOOK_SPREAD_MS);
  }
}

function jittered(ms, spread) {
  return ms + (Math.random() * 2 - 1) * spread;
}
