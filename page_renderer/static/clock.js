// The server's time, as exactly as the page can know it.
//
// Each answer gives an interval in which "server time minus ours" must lie:
//   GET /api/v1/clock   [now_ms - received, now_ms - sent]            (width: the round trip)
//   Date header         [Date - received, Date + 1000 - sent]         (whole seconds; nginx sends it,
//                                                                      so it works with the API down)
//   state.json's at_ms  [at_ms - received, infinity]                  (written some time before)
// Intervals are intersected, newest first; the lower end of what remains is what we count with: the
// server's clock is at least there, so a page never opens early, however slow the answers were (the
// middle was up to half a round trip ahead). It is late by the way back of the best answer. A few
// Date headers at different fractions of a second already narrow it to about 100 ms. "Ours" is
// performance.now(), which does not jump when somebody sets the computer's clock.

const SAMPLES_MAX = 12;
// Quartz drifts by up to about 50 parts per million: an old sample is widened by that.
const DRIFT = 0.00005;
const HEADER_GRAIN_MS = 1000;

export class ServerClock {
  constructor(fallbackMs = Date.now()) {
    this.samples = [];
    // Until the first answer: the device's own clock, which is usually right to a second.
    this.offset = fallbackMs - performance.now();
  }

  now() {
    return performance.now() + this.offset;
  }

  /** A sample from `GET /api/v1/clock`; `sent` and `received` by performance.now(). */
  exact(serverMs, sent, received) {
    this.#add(serverMs - received, serverMs - sent, received);
  }

  /** A sample from any answer's Date header; ignored when absent or unreadable. */
  header(value, sent, received) {
    const date = value ? Date.parse(value) : NaN;
    if (Number.isNaN(date)) return;
    this.#add(date - received, date + HEADER_GRAIN_MS - sent, received);
  }

  /** Something was written by the server at this time, so its clock is at least there. */
  atLeast(serverMs, received) {
    this.#add(serverMs - received, Infinity, received);
  }

  #add(low, high, at) {
    this.samples.unshift({ low, high, at });
    this.samples.length = Math.min(this.samples.length, SAMPLES_MAX);
    let lowest = -Infinity;
    let highest = Infinity;
    for (const sample of this.samples) {
      const drift = (at - sample.at) * DRIFT;
      const nextLow = Math.max(lowest, sample.low - drift);
      const nextHigh = Math.min(highest, sample.high + drift);
      // They contradict each other: a clock was set, or the device slept. The newer ones count.
      if (nextLow > nextHigh) break;
      lowest = nextLow;
      highest = nextHigh;
    }
    // With no upper end the device's own clock still counts, unless it is known to be behind.
    if (highest === Infinity && lowest <= this.offset) return;
    this.offset = lowest;
  }
}

/** Ask the API for its clock: the best of a few, since one slow answer says little. */
export async function synchronise(clock, api, times = 3) {
  for (let turn = 0; turn < times; turn += 1) {
    const answer = await api.get("/api/v1/clock");
    if (!answer.ok || typeof answer.data.now_ms !== "number") return false;
    clock.exact(answer.data.now_ms, answer.sent, answer.received);
  }
  return true;
}
