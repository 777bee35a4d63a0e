// What is known after a refusal, and whether waiting helps.

// Refusals spoken by the gate, which looks for the key first: they say for certain that the key has
// taken nothing. All others (a limit at the edge, a token that ended, a link that the gate was not
// even asked about) leave an earlier doubt standing.
export const GATE_REFUSALS = new Set([
  "BACKLOG",
  "ENDED",
  "KEY_REUSED",
  "LIMIT_REACHED",
  "NOT_ENOUGH",
  "NOT_OPEN",
  "PAUSED",
  "REPEATED",
  "SOLD_OUT",
  "THROTTLED",
]);

// Refusals that only time stands behind: after the rest the page asks again by itself, as often as a
// patient shopper would tap, so that waiting needs no watching. It never asks sooner than anybody may.
export const BY_ITSELF = new Set(["BACKLOG", "NOT_OPEN", "RATE_LIMITED", "REPEATED", "THROTTLED"]);
// With the usual window of 10 s about ten minutes; then it takes a tap to go on.
export const BY_ITSELF_MAX = 60;

/** May this request have been carried out although no clear answer came? */
export function mayHaveArrived(answer) {
  return answer.code === "UNKNOWN" || answer.code === "DEGRADED";
}
