// The life of one shopper's claim to one item, as a state machine.
//
//   idle ──tap──► asking ──202──► queued ──► reserved ──► confirmed | expired | cancelled
//                  │  │              └─────────────────────────────► rejected
//                  │  ├─ refused (a code; the button rests for `restMs`; then idle-like, or, where time
//                  │  │           alone stands behind it, asking again by itself)
//                  │  ├─ retrying (no answer: the same key again, by itself)
//                  │  └─ signin (the token no longer holds; goes on after signing in)
//                  └─ early (our clock ran ahead: the tap is kept for the moment of opening)
//
// Waits are measured by performance.now(), never by a clock that somebody may set.
//
// No state says "failed" about a request whose answer is not known: that is `retrying`, and it ends
// only by an answer to the same key or by the list of the shopper's claims.

import { BUY_TIMEOUT_MS } from "./api.js";
import { Attempt } from "./attempt.js";
import { BY_ITSELF, BY_ITSELF_MAX, GATE_REFUSALS, mayHaveArrived } from "./refusals.js";
import { session } from "./store.js";

// After a tap the button rests at least this long, plus some chance, so that a crowd refused in the
// same second does not come back in the same second.
const REST_MS = 5000;
const REST_JITTER_MS = 1000;
// The opening seen by the server may be a moment later than ours; up to here the tap just waits.
const EARLY_WAIT_MAX_MS = 3000;
const EARLY_TRIES_MAX = 5;
const RETRY_FIRST_MS = 2000;
const RETRY_LAST_MS = 30_000;
// About 15 minutes of asking; then the page says so and leaves it to the shopper.
const RETRIES_MAX = 32;
const POLL_DEFAULT_MS = 1000;
const POLL_LEAST_MS = 250;
const POLL_MOST_MS = 30_000;

const ENDED = new Set(["confirmed", "expired", "cancelled", "rejected"]);
const TICKET_STATES = new Set(["queued", "reserved", ...ENDED]);

export class Claim {
  /** `onChange(claim)` after each change; `onSettled()` when an order may have changed. */
  constructor({ slug, sku, api, onChange, onSettled }) {
    this.sku = sku;
    this.slug = slug;
    this.api = api;
    this.onChange = onChange;
    this.onSettled = onSettled;
    this.attempt = new Attempt(slug, sku);
    this.state = { name: "idle" };
    this.link = null;
    this.timer = null;
    // Raised by whatever makes answers still under way meaningless (sign-out, a new start).
    this.turn = 0;
    this.retries = 0;
    this.early = 0;
    this.byItself = 0;
    this.restUntilMs = 0;
    this.ticketPath = null;
    this.missingPath = null;
  }

  /** How long the button still rests, in ms; 0 when it does not. */
  get restMs() {
    return Math.max(0, this.restUntilMs - performance.now());
  }

  get busy() {
    return ["asking", "retrying", "early", "queued", "reserved"].includes(this.state.name);
  }

  /** May something still come of it, so that no other sentence must hide it? */
  get open() {
    return this.busy || this.state.name === "signin" || Boolean(this.state.byItself);
  }

  /** The one buying action. */
  tap() {
    if (this.busy || this.state.byItself || !session() || this.restMs > 0) return;
    this.#restart();
    this.byItself = 0;
    this.#rest(REST_MS);
    this.attempt.begin();
    this.#ask();
  }

  /** No more tries by itself; the button comes back when its rest is over. */
  stop() {
    if (!this.state.byItself) return;
    this.#restart();
    this.#become({ name: "refused", code: this.state.code });
  }

  /** Forget everything on this screen, not what is kept: another shopper may sit down. */
  reset() {
    this.#restart();
    this.link = null;
    this.ticketPath = null;
    this.restUntilMs = 0;
    this.#become({ name: "idle" });
  }

  /** Ask at once instead of at the next appointed time: the network came back, or the tab did. */
  hurry() {
    if (this.state.name === "retrying") this.#soon(0, () => this.#again());
    else if (this.state.name === "queued" || this.state.name === "reserved") {
      this.#soon(0, () => this.#poll());
    }
  }

  /**
   * Take up what is known after loading the page or signing in. `rows` are this item's entries of
   * `GET /me/claims`, newest last; null when the list could not be had.
   */
  restore(rows) {
    if (this.state.name === "asking" || this.state.name === "early") return;
    const goOn = this.state.name === "signin" && this.state.tapped;
    const kept = this.attempt.kept;
    const row = rows && pick(rows);
    if (row && !ENDED.has(row.status)) {
      this.#follow(row.ticket_path, row.status);
    } else if (!row && kept?.ticketPath) {
      this.#follow(kept.ticketPath, "queued");
    } else if (row && !goOn && !this.busy) {
      // The try that was open has ended, or there was none: show how it ended.
      this.attempt.end();
      this.#follow(row.ticket_path, row.status);
    } else if (goOn) {
      this.#restart();
      this.#ask();
    } else if (rows === null && kept?.inDoubt && !this.busy) {
      this.#retryLater({ look: true });
    } else if (this.state.name === "retrying" && this.state.look) {
      this.#become({ name: "idle" });
    }
  }

  // -- asking ------------------------------------------------------------------------------------

  async #ask({ freshLink = false } = {}) {
    const turn = this.turn;
    this.#become({ name: "asking" });
    if (freshLink) this.link = null;
    if (!this.link) {
      const answer = await this.api.post(
        `/api/v1/sales/${this.slug}/items/${encodeURIComponent(this.sku)}/link`,
        { signedIn: true },
      );
      if (turn !== this.turn) return;
      if (!answer.ok) {
        this.#linkRefused(answer);
        return;
      }
      this.link = answer.data.buy_path;
    }
    const { key, inDoubt } = this.attempt.begin();
    this.attempt.update({ inDoubt: true });
    const answer = await this.api.post(this.link, {
      signedIn: true,
      key,
      timeoutMs: BUY_TIMEOUT_MS,
    });
    if (turn !== this.turn) return;
    if (answer.ok) {
      this.#accepted(answer.data);
      return;
    }
    const settled = GATE_REFUSALS.has(answer.code);
    if (settled) this.attempt.update({ inDoubt: false });
    else if (!mayHaveArrived(answer)) this.attempt.update({ inDoubt });
    if (answer.code === "LINK_INVALID" && !freshLink) this.#ask({ freshLink: true });
    else this.#buyRefused(answer, settled);
  }

  #accepted(data) {
    this.retries = 0;
    this.early = 0;
    this.ticketPath = data.ticket_path;
    this.attempt.update({
      inDoubt: false,
      ticketPath: data.ticket_path,
      placeAtFirst: data.position ?? null,
    });
    this.#become({ name: "queued", position: data.position, placeAtFirst: data.position });
    this.#soon(bounded(data.poll_after_ms), () => this.#poll());
  }

  #linkRefused(answer) {
    if (this.#common(answer)) return;
    // No link was given, so this try took nothing. An earlier one with the same key may have, if its
    // answer was lost: the shopper's list decides before any word of refusal.
    if (this.attempt.kept?.inDoubt) this.#look(answer);
    else this.#refuse(answer);
  }

  #buyRefused(answer, settled) {
    if (this.#common(answer)) return;
    if (answer.code === "LINK_INVALID") this.link = null;
    if (!settled && this.attempt.kept?.inDoubt) {
      this.#retryLater({ afterMs: answer.retryAfterMs });
    } else if (answer.code === "KEY_REUSED") {
      // This key stands for another purchase of ours: find it, and let the next tap have a new key.
      this.#look(answer, { newKey: true });
    } else if (answer.code === "LIMIT_REACHED") {
      this.#look(answer);
    } else {
      this.#refuse(answer);
    }
  }

  /** Endings that link and buy share; true when the answer was one of them. */
  #common(answer) {
    if (answer.code === "UNAUTHENTICATED") {
      this.#become({ name: "signin", tapped: true });
    } else if (mayHaveArrived(answer)) {
      this.#retryLater({ afterMs: answer.retryAfterMs });
    } else if (answer.code === "NOT_OPEN" && this.#mayWait(answer.retryAfterMs)) {
      this.early += 1;
      this.#become({ name: "early" });
      this.#soon(answer.retryAfterMs + Math.random() * 300, () => this.#ask());
    } else {
      return false;
    }
    return true;
  }

  #mayWait(ms) {
    return ms !== null && ms <= EARLY_WAIT_MAX_MS && this.early < EARLY_TRIES_MAX;
  }

  #refuse(answer) {
    if (answer.retryAfterMs !== null) this.#rest(answer.retryAfterMs);
    this.retries = 0;
    this.early = 0;
    const byItself = BY_ITSELF.has(answer.code) && this.byItself < BY_ITSELF_MAX;
    this.#become({ name: "refused", code: answer.code, byItself });
    if (!byItself) return;
    this.byItself += 1;
    this.#soon(this.restMs, () => {
      this.#rest(REST_MS);
      this.#ask();
    });
  }

  // -- not knowing -------------------------------------------------------------------------------

  #retryLater({ afterMs = null, look = false } = {}) {
    this.retries += 1;
    if (this.retries > RETRIES_MAX) {
      this.retries = 0;
      this.#rest(REST_MS);
      this.#become({ name: "unsettled" });
      return;
    }
    const backoff = Math.min(RETRY_FIRST_MS * 2 ** (this.retries - 1), RETRY_LAST_MS);
    const wait = Math.max(backoff, afterMs ?? 0) + Math.random() * REST_JITTER_MS;
    const inDoubt = Boolean(this.attempt.kept?.inDoubt);
    this.#become({ name: "retrying", inDoubt, look, untilMs: performance.now() + wait });
    this.#soon(wait, () => this.#again());
  }

  #again() {
    // A page that was loaded anew only looks: a tap of yesterday must not buy today.
    if (this.state.look) this.#look(null);
    else this.#ask();
  }

  /** Is there a claim after all? `answer` is the refusal that holds when there is none. */
  async #look(answer, { newKey = false } = {}) {
    const turn = this.turn;
    const list = await this.api.get(`/api/v1/me/claims?sale=${this.slug}`, { signedIn: true });
    if (turn !== this.turn) return;
    if (list.code === "UNAUTHENTICATED") {
      this.#become({ name: "signin", tapped: answer !== null });
      return;
    }
    if (!list.ok) {
      this.#retryLater({ look: answer === null, afterMs: list.retryAfterMs });
      return;
    }
    const row = pick(list.data.claims.filter((claim) => claim.sku === this.sku));
    if (newKey) this.attempt.end();
    if (row && (!ENDED.has(row.status) || row.status === "confirmed" || answer === null)) {
      if (row.ticket_path === this.missingPath) this.#become({ name: row.status });
      else this.#follow(row.ticket_path, row.status);
    } else if (answer) {
      this.attempt.update({ inDoubt: false });
      this.#refuse(answer);
    } else {
      this.retries = 0;
      this.#become({ name: "idle" });
    }
  }

  // -- the ticket --------------------------------------------------------------------------------

  #follow(ticketPath, status) {
    this.#restart();
    this.ticketPath = ticketPath;
    if (!ENDED.has(status)) this.attempt.update({ ticketPath });
    const placeAtFirst = this.attempt.kept?.placeAtFirst ?? undefined;
    this.#become({ name: status, placeAtFirst });
    this.#poll();
  }

  async #poll() {
    const turn = this.turn;
    const path = this.attempt.kept?.ticketPath ?? this.ticketPath;
    const answer = await this.api.get(path, { signedIn: true });
    if (turn !== this.turn) return;
    if (answer.ok && TICKET_STATES.has(answer.data.status)) {
      this.#ticket(answer.data);
    } else if (answer.code === "UNAUTHENTICATED") {
      this.#become({ name: "signin", tapped: false });
    } else if (answer.code === "NOT_FOUND") {
      // Named in the list and not to be had: do not go round in circles.
      this.missingPath = path;
      this.attempt.end();
      this.#look(null);
    } else if (!ENDED.has(this.state.name)) {
      this.retries += 1;
      const backoff = Math.min(RETRY_FIRST_MS * 2 ** Math.min(this.retries, 5), RETRY_LAST_MS);
      this.#become({ ...this.state, outOfTouch: true });
      this.#soon(Math.max(backoff, answer.retryAfterMs ?? 0), () => this.#poll());
    }
  }

  #ticket(ticket) {
    this.retries = 0;
    const before = this.state;
    const placeAtFirst = Math.max(before.placeAtFirst ?? 0, ticket.position ?? 0) || undefined;
    this.#become({
      name: ticket.status,
      position: ticket.position,
      placeAtFirst,
      etaMs: ticket.eta_ms,
      orderId: ticket.order_id,
      payByMs: ticket.pay_by ? Date.parse(ticket.pay_by) : undefined,
      reason: ticket.reason,
    });
    if (ENDED.has(ticket.status)) this.attempt.end();
    else this.#soon(bounded(ticket.poll_after_ms), () => this.#poll());
    if (ticket.status !== before.name && ticket.status !== "queued") this.onSettled();
  }

  // -- small change ------------------------------------------------------------------------------

  #become(state) {
    this.state = state;
    this.onChange(this);
  }

  #restart() {
    this.turn += 1;
    this.retries = 0;
    this.early = 0;
    clearTimeout(this.timer);
  }

  /** The button rests: never shorter than it already does, and with a little chance on top. */
  #rest(ms) {
    const until = performance.now() + ms + Math.random() * REST_JITTER_MS;
    this.restUntilMs = Math.max(this.restUntilMs, until);
  }

  #soon(ms, action) {
    clearTimeout(this.timer);
    this.timer = setTimeout(action, ms);
  }
}

/** The row that matters most: a live one, else a bought one, else the newest. */
function pick(rows) {
  return (
    rows.findLast((row) => !ENDED.has(row.status)) ??
    rows.findLast((row) => row.status === "confirmed") ??
    rows.at(-1) ??
    null
  );
}

function bounded(pollAfterMs) {
  const ms = Number.isFinite(pollAfterMs) ? pollAfterMs : POLL_DEFAULT_MS;
  // A tenth of chance, so that tickets of one batch are not asked for in one instant.
  return Math.min(Math.max(ms, POLL_LEAST_MS), POLL_MOST_MS) * (1 + Math.random() / 10);
}
