// Every sentence a shopper reads. Short, honest, never blaming; no word of ours (no "429", no
// "ticket"). What may still succeed is never called failed.

import { seconds, timeOfDay } from "./format.js";

export const PHASE_LABEL = {
  upcoming: "Opens soon",
  live: "Live now",
  paused: "Paused",
  sold_out: "Sold out",
  ended: "Ended",
  cancelled: "Cancelled",
};

export const PHASE_NOTE = {
  paused: "The sale is paused for a moment. Nothing you have is lost: the button comes back when it goes on.",
  ended: "This sale has ended. What you bought is kept below.",
  cancelled: "This sale was cancelled. What was paid is paid back.",
};

const SOLD_OUT_WITH_HOLDS =
  "Pieces come back when a hold ends without payment. Keep this page open: the button comes back by itself.";
const SOLD_OUT = "If a piece comes back, the button comes back by itself.";

export function soldOutNote(holds) {
  return holds ? SOLD_OUT_WITH_HOLDS : SOLD_OUT;
}

// Title and text of each refusal; `wait` says when the button is back: "in 7 s", or "now".
const REFUSED = {
  NOT_OPEN: (wait) => ["Not open yet", `It is about to open. Try again ${wait}.`],
  SOLD_OUT: (wait, c) => ["Sold out", soldOutNote(c.holds)],
  NOT_ENOUGH: () => ["Fewer pieces are left than you asked for", "You can try again for one."],
  LIMIT_REACHED: (wait, c) => [
    "You have all that one person can have",
    `${c.limitWords} each, so that more people get one.`,
  ],
  PAUSED: () => [
    "Paused for a moment",
    "Your try was not counted. The button comes back when the sale goes on.",
  ],
  ENDED: () => ["The sale has ended", "Your try came after the end."],
  REPEATED: (wait, c) => [
    "One try at a time",
    `Everyone gets one try per ${c.repeatWords}. Yours: again ${wait}.`,
  ],
  THROTTLED: (wait) => [
    "Not through this time",
    `Many people tried in this second. Try again ${wait}: the chances are the same for all.`,
  ],
  BACKLOG: (wait) => [
    "The line is full for a moment",
    `Earlier tries are being confirmed first. Try again ${wait}.`,
  ],
  RATE_LIMITED: (wait) => [
    "A little too fast",
    `Many requests came from your connection. Try again ${wait}.`,
  ],
  LINK_INVALID: (wait) => [
    "That one did not count",
    `Your page was out of date and has renewed itself. Try again ${wait}.`,
  ],
  KEY_REUSED: (wait) => ["That one did not count", `Nothing was bought by it. Try again ${wait}.`],
  CHALLENGE_REQUIRED: () => ["The shop asks for one more check", "Reload this page, then try again."],
  FORBIDDEN: () => ["This sign-in cannot buy here", "Sign out and in again, then try again."],
  NOT_FOUND: () => ["This item is not on sale any more", "Reload this page to see what is."],
};
const REFUSED_OTHERWISE = (wait) => [
  "That did not go through",
  `Nothing was bought by it. Try again ${wait}.`,
];

// What the button says while it rests after a refusal that no waiting mends. After all others it says
// when it comes back.
export const NO_USE_WAITING = {
  SOLD_OUT: "Sold out",
  LIMIT_REACHED: "All yours already",
  PAUSED: "Paused",
  ENDED: "Ended",
  CHALLENGE_REQUIRED: "One more check",
  FORBIDDEN: "Not with this sign-in",
  NOT_FOUND: "Not on sale",
};

const REJECTED = {
  no_stock:
    "No piece was left when your turn came. We are sorry: this should not happen, and the shop has been told.",
  lost_in_failover:
    "A server broke down and your place was lost with it. We are sorry. You can try again.",
  sale_cancelled: "The sale was cancelled before your turn came.",
};

const REJECTED_OTHERWISE =
  "You have not been charged. You can try again while the sale is open.";

/**
 * What the panel says about a claim, or null for nothing.
 * `context`: `{nowMs, restMs, holds, holdWords, limitWords, repeatWords, payment}`.
 * Returns `{tone, title, text, progress?, payBy?}`; tones: wait good note.
 */
export function claimWords(state, context) {
  const say = SPOKEN[state.name];
  return say ? say(state, context) : null;
}

const SPOKEN = {
  asking: () => panel("wait", "Asking for your piece…", "One tap is enough. You can leave the page open."),
  early: () => panel("wait", "Any moment now", "It opens within a second or two. Your tap is kept."),
  retrying: (state, c) => {
    const wait = seconds(state.untilMs - performance.now());
    if (!state.inDoubt) {
      return panel("wait", "No answer from the shop yet", `We ask again by ourselves in ${wait}. You need not tap.`);
    }
    return panel(
      "wait",
      "We do not know yet whether you are in",
      `Your try may have got through. We ask again in ${wait}, with the same try: ` +
        "you cannot lose a piece or buy twice by it.",
    );
  },
  unsettled: () =>
    panel(
      "note",
      "Still no clear answer",
      "If your try got through, it is kept and will show here. Reload this page in a while.",
    ),
  signin: (state) =>
    panel(
      "wait",
      "Please sign in again",
      state.tapped
        ? "Your try is kept and goes on as soon as you are signed in."
        : "What you have is kept and shows again as soon as you are signed in.",
    ),
  queued: (state) => {
    const place = state.position > 0 ? `Place ${state.position} being confirmed` : "It is being confirmed";
    return {
      ...panel("good", `You are in. ${place}`, [eta(state), KEPT].filter(Boolean).join(" ")),
      progress: progress(state),
      outOfTouch: outOfTouch(state),
    };
  },
  reserved: (state, c) =>
    state.payByMs && state.payByMs <= c.nowMs
      ? panel("wait", "The time to pay is over", "If you paid in time, it will show here in a moment.")
      : {
          ...panel("good", "A piece is set aside for you", reservedText(state, c)),
          pay: c.payment && Boolean(state.orderId),
          cancel: Boolean(state.orderId),
          payByMs: state.payByMs,
          outOfTouch: outOfTouch(state),
        },
  confirmed: (state, c) =>
    panel(
      "good",
      "It is yours",
      `${c.payment ? "Paid and confirmed." : "Your order is confirmed."} A message is on its way to you.`,
    ),
  expired: (state, c) =>
    panel(
      "note",
      "Your hold has ended",
      `It was not paid in ${c.holdWords}, so the piece went back to the others. You can try again.`,
    ),
  cancelled: () =>
    panel(
      "note",
      "Your order was cancelled",
      "The piece went back to the others. You can try again while the sale is open.",
    ),
  rejected: (state) =>
    panel("note", "This one could not be confirmed", REJECTED[state.reason] ?? REJECTED_OTHERWISE),
  refused: (state, c) => {
    const wait = c.restMs > 0 ? `in ${seconds(c.restMs)}` : "now";
    const [title, text] = (REFUSED[state.code] ?? REFUSED_OTHERWISE)(wait, c);
    return panel("note", title, text);
  },
};

const KEPT = "You can close this page: your claim is kept.";

function panel(tone, title, text) {
  return { tone, title, text };
}

function outOfTouch(state) {
  return state.outOfTouch ? "We cannot reach the shop right now. Your claim is kept; we go on asking." : null;
}

function eta(state) {
  return Number.isFinite(state.etaMs) ? `About ${seconds(state.etaMs)}.` : "";
}

function progress(state) {
  if (!(state.placeAtFirst > 1) || !(state.position > 0)) return null;
  return { value: state.placeAtFirst - state.position + 1, max: state.placeAtFirst };
}

function reservedText(state, c) {
  if (!c.payment) return KEPT;
  if (!state.payByMs) return "Pay to keep it.";
  return `Pay by ${timeOfDay(state.payByMs)} your time, or it goes to the next person.`;
}

export const ORDER_STATUS = {
  reserved: "Set aside",
  confirmed: "Yours",
  expired: "Hold ended",
  cancelled: "Cancelled",
  rejected: "Not confirmed",
  refund_due: "Money on its way back",
  refunded: "Paid back",
};

export const SIGNIN = {
  sent: (contact) => `We sent a code to ${contact}. It may take a minute.`,
  INVALID: "That address does not look right.",
  INVALID_FIELD: "That address does not look right.",
  UNAUTHENTICATED: "That code is not right, or it is too old. Check the newest message.",
  RATE_LIMITED: (wait) => `Too many codes for now. Try again in ${wait}.`,
  UNKNOWN: "No answer from the shop. Check your connection and try again.",
  DEGRADED: "The shop cannot sign you in at this moment. Try again in a few seconds.",
  other: "That did not work. Try again.",
};

export const ACTION_REFUSED = {
  WRONG_STATE: "That is no longer possible: the order has moved on.",
  NOT_FOUND: "That order is not here any more.",
  UNKNOWN: "No answer from the shop, so we do not know yet. The list shows how it stands.",
  DEGRADED: "The shop cannot do this right now. Your piece is kept until its time; try again in a few seconds.",
  RATE_LIMITED: "A little too fast. Try again in a few seconds.",
  other: "That did not work. Try again.",
};
