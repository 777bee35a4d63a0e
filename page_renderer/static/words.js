// Every sentence a shopper reads, from the page's catalogue. Short, honest, never blaming; no word of
// ours (no "429", no "ticket"). What may still succeed is never called failed.

// The page names its own language's module; it is preloaded with the others, so this waits for nothing.
const { default: catalogue } = await import(document.documentElement.dataset.words);

/** For Intl: the language with its numerals. */
export const TAG = catalogue.tag;
const plural = new Intl.PluralRules(TAG);

export function has(name) {
  return Object.hasOwn(catalogue.messages, name);
}

/** A message with its places filled; of one that depends on a number `n`, the form that goes with it. */
export function say(name, values = {}) {
  const message = catalogue.messages[name];
  return fill(typeof message === "string" ? message : message[plural.select(values.n)], values);
}

/** A message of two parts, title and text. */
function pair(name, values = {}) {
  return catalogue.messages[name].map((part) => fill(part, values));
}

function fill(message, values) {
  return message.replace(/\{([a-z_]+)\}/g, (place, name) => values[name] ?? place);
}

/** The message for a code, or for any other. */
export function sayCode(group, code, values) {
  return say(has(`${group}.${code}`) ? `${group}.${code}` : `${group}.other`, values);
}

/** `7 s`, `2 min`: how long from now, never rounded down. */
export function seconds(ms) {
  const total = Math.max(1, Math.ceil(ms / 1000));
  return total < 120 ? say("unit.s", { n: total }) : say("unit.min", { n: Math.ceil(total / 60) });
}

/** The same in words, for screen readers. */
export function spokenSeconds(ms) {
  const total = Math.max(1, Math.ceil(ms / 1000));
  return total < 120 ? say("spoken.seconds", { n: total }) : say("spoken.minutes", { n: Math.ceil(total / 60) });
}

export function soldOutNote(holds) {
  return say(holds ? "note.sold_out_holds" : "note.sold_out");
}

/** What the button says while it rests after a refusal that no waiting mends; null after all others. */
export function noUseWaiting(code) {
  return has(`no_use.${code}`) ? say(`no_use.${code}`) : null;
}

/**
 * What the panel says about a claim, or null for nothing.
 * `context`: `{nowMs, restMs, holds, holdWords, limitWords, repeatWords, payment, timeOfDay}`.
 * Returns `{tone, title, text, progress?, payByMs?, pay?, cancel?, stop?}`; tones: wait good note.
 */
export function claimWords(state, context) {
  const speak = SPOKEN[state.name];
  return speak ? speak(state, context) : null;
}

const SPOKEN = {
  asking: () => panel("wait", pair("claim.asking")),
  early: () => panel("wait", pair("claim.early")),
  retrying: (state) => {
    const time = seconds(state.untilMs - performance.now());
    return panel("wait", pair(state.inDoubt ? "claim.in_doubt" : "claim.no_answer", { time }));
  },
  unsettled: () => panel("note", pair("claim.unsettled")),
  signin: (state) => panel("wait", pair(state.tapped ? "claim.signin_tapped" : "claim.signin")),
  queued: (state) => {
    const title =
      state.position > 0 ? say("claim.queued", { place: state.position }) : say("claim.queued_no_place");
    return {
      ...panel("good", [title, [eta(state), say("claim.kept")].filter(Boolean).join(" ")]),
      progress: progress(state),
      outOfTouch: outOfTouch(state),
    };
  },
  reserved: (state, c) =>
    state.payByMs && state.payByMs <= c.nowMs
      ? panel("wait", pair("claim.pay_over"))
      : {
          ...panel("good", [say("claim.reserved"), reservedText(state, c)]),
          pay: c.payment && Boolean(state.orderId),
          cancel: Boolean(state.orderId),
          payByMs: state.payByMs,
          outOfTouch: outOfTouch(state),
        },
  confirmed: (state, c) => panel("good", pair(c.payment ? "claim.paid" : "claim.confirmed")),
  expired: (state, c) => panel("note", pair("claim.expired", { hold: c.holdWords })),
  cancelled: () => panel("note", pair("claim.cancelled")),
  rejected: (state) => panel("note", [say("claim.rejected"), sayCode("rejected", state.reason)]),
  refused: (state, c) => {
    const name = has(`refused.${state.code}`) ? `refused.${state.code}` : "refused.other";
    const wait = c.restMs > 0 ? say("wait.in", { time: seconds(c.restMs) }) : say("wait.now");
    const values = { wait, repeat: c.repeatWords, limit: c.limitWords, sold_out: soldOutNote(c.holds) };
    return { ...panel("note", pair(name, values)), stop: state.byItself };
  },
};

function panel(tone, [title, text]) {
  return { tone, title, text };
}

function outOfTouch(state) {
  return state.outOfTouch ? say("claim.out_of_touch") : null;
}

function eta(state) {
  return Number.isFinite(state.etaMs) ? say("claim.eta", { time: seconds(state.etaMs) }) : "";
}

function progress(state) {
  if (!(state.placeAtFirst > 1) || !(state.position > 0)) return null;
  return { value: state.placeAtFirst - state.position + 1, max: state.placeAtFirst };
}

function reservedText(state, c) {
  if (!c.payment) return say("claim.kept");
  if (!state.payByMs) return say("claim.pay_to_keep");
  return say("claim.pay_by", { time: c.timeOfDay(state.payByMs) });
}
