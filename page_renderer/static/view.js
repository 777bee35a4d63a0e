// From what is known to what is shown. Each part is written only when it changes, so that a screen
// reader, a selection or a half-made tap is not disturbed every second.

import { countdown, seconds, spokenSeconds, timeOfDay, yourTime } from "./format.js";
import { NO_USE_WAITING, PHASE_LABEL, PHASE_NOTE, claimWords, soldOutNote } from "./words.js";

const byId = (id) => document.getElementById(id);
// The same sentence is not read out again within this time, nor is the place in line more often.
const PLACE_SPOKEN_EVERY_MS = 10_000;

function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

export class View {
  constructor() {
    this.said = "";
    this.spokenName = "idle";
    this.placeSaidAtMs = 0;
    this.rested = false;
    this.refocus = false;
  }

  /** `model`: `{phase, nowMs, opensAtMs, closesAtMs, signedIn, item, claim, context}`. */
  render(model) {
    this.#phase(model);
    this.#buy(model);
    this.#claim(model);
    this.#rest(model);
  }

  items(badges) {
    for (const [sku, badge] of Object.entries(badges)) {
      const label = document.querySelector(`.item[data-sku="${CSS.escape(sku)}"]`);
      const node = label.querySelector("[data-badge]");
      label.toggleAttribute("data-sold-out", badge === "Sold out");
      show(node, badge !== "");
      text(node, badge);
    }
  }

  announce(sentence) {
    if (sentence === this.said) return;
    this.said = sentence;
    byId("announce").textContent = sentence;
  }

  #phase({ phase, nowMs, opensAtMs, closesAtMs, context }) {
    const label = byId("phase");
    if (label.dataset.phase !== phase || label.textContent !== PHASE_LABEL[phase]) {
      const changed = label.dataset.known === "yes";
      label.dataset.phase = phase;
      label.dataset.known = "yes";
      text(label, PHASE_LABEL[phase]);
      if (changed) this.announce(phase === "live" ? "The sale is open." : `${PHASE_LABEL[phase]}.`);
    }
    const before = phase === "upcoming";
    const over = phase === "ended" || phase === "cancelled";
    text(byId("clock-words"), clockWords(phase, opensAtMs, closesAtMs, nowMs));
    text(byId("count"), over ? "" : countdown((before ? opensAtMs : closesAtMs) - nowMs));
    const note = phase === "sold_out" ? soldOutNote(context.holds) : (PHASE_NOTE[phase] ?? "");
    text(byId("phase-note"), note);
    show(byId("phase-note"), note !== "");
  }

  #buy(model) {
    const button = byId("buy");
    const [label, enabled] = buyLabel(model);
    text(button, label);
    text(byId("hint"), hint(model));
    if (button.disabled === enabled) {
      // A disabled button loses the keyboard's focus; it gets it back when it opens again, unless
      // the shopper has gone elsewhere meanwhile.
      if (!enabled) this.refocus = document.activeElement === button;
      button.disabled = !enabled;
      if (enabled && this.refocus && document.activeElement === document.body) button.focus();
    }
    const over = model.phase === "ended" || model.phase === "cancelled";
    const bought = model.claim.state.name === "confirmed" && model.item.limit === 1;
    show(button, !over && !bought && !["queued", "reserved"].includes(model.claim.state.name));
    // What the panel says about a try is nearer to the point than the general hint.
    show(byId("hint"), !button.hidden && ["idle", "confirmed"].includes(model.claim.state.name));
  }

  #claim({ claim, context, nowMs }) {
    const words = claimWords(claim.state, context);
    const panel = byId("claim");
    show(panel, words !== null);
    if (!words) {
      this.spokenName = claim.state.name;
      return;
    }
    if (panel.dataset.tone !== words.tone) panel.dataset.tone = words.tone;
    text(byId("claim-title"), words.title);
    text(byId("claim-text"), words.text);
    text(byId("claim-touch"), words.outOfTouch ?? "");
    show(byId("claim-touch"), Boolean(words.outOfTouch));
    const progress = byId("claim-progress");
    show(progress, Boolean(words.progress));
    if (words.progress) {
      progress.max = words.progress.max;
      progress.value = words.progress.value;
    }
    show(byId("claim-pay"), Boolean(words.pay));
    show(byId("claim-cancel"), Boolean(words.cancel));
    show(byId("claim-pay-clock"), Boolean(words.payByMs));
    if (words.payByMs) text(byId("claim-pay-left"), countdown(words.payByMs - nowMs));
    this.#speakClaim(claim.state, words, nowMs);
  }

  #speakClaim(state, words, nowMs) {
    // A refusal is said with its wait, by #rest; a place in line now and then, not at every step.
    if (state.name === "refused") {
      this.spokenName = "refused";
      return;
    }
    if (this.spokenName !== state.name) {
      this.announce(`${words.title}. ${words.text}`);
      this.placeSaidAtMs = nowMs;
    } else if (state.name === "queued" && nowMs - this.placeSaidAtMs > PLACE_SPOKEN_EVERY_MS) {
      this.announce(words.title);
      this.placeSaidAtMs = nowMs;
    }
    this.spokenName = state.name;
  }

  #rest({ claim, phase, item }) {
    const { restMs } = claim;
    const resting = restMs > 0 && claim.state.name === "refused";
    if (resting && !this.rested) {
      const what = byId("claim-title").textContent;
      const then = NO_USE_WAITING[claim.state.code]
        ? byId("claim-text").textContent
        : `You can try again in ${spokenSeconds(restMs)}.`;
      this.announce(`${what}. ${then}`);
    }
    const again = this.rested && !resting && claim.state.name === "refused";
    if (again && !NO_USE_WAITING[claim.state.code] && phase === "live" && !item.soldOut) {
      this.announce("You can try again now.");
    }
    this.rested = resting;
  }
}

function clockWords(phase, opensAtMs, closesAtMs, nowMs) {
  if (phase === "cancelled") return "This sale does not take place";
  if (phase === "upcoming") return `Opens ${yourTime(opensAtMs, nowMs)}`;
  if (phase !== "ended") return `Ends ${yourTime(closesAtMs, nowMs)}`;
  // Ended by hand, before its time: the page does not know when.
  return closesAtMs > nowMs ? "This sale is over" : `Ended ${yourTime(closesAtMs, nowMs)}`;
}

/** The button's words, and whether it may be tapped. */
function buyLabel({ phase, signedIn, item, claim }) {
  const { restMs } = claim;
  if (phase === "paused") return ["Paused", false];
  if (phase === "ended" || phase === "cancelled") return ["Ended", false];
  if (claim.state.name === "asking") return ["Asking…", false];
  if (claim.state.name === "early") return ["Opening…", false];
  if (claim.state.name === "retrying") return ["Asking again…", false];
  if (phase === "upcoming") return [`Buy ${item.name}`, false];
  if (!signedIn) return ["Sign in to buy", true];
  if (item.soldOut) return ["Sold out", false];
  if (restMs > 0) return [NO_USE_WAITING[claim.state.code] ?? `Try again in ${seconds(restMs)}`, false];
  return [claim.state.name === "confirmed" ? "Buy one more" : `Buy ${item.name}`, true];
}

function hint({ phase, signedIn, opensAtMs, item, context }) {
  if (phase === "upcoming") {
    const at = `The button opens by itself at ${timeOfDay(opensAtMs)} your time.`;
    return signedIn ? `${at} No need to reload.` : `${at} Sign in before: then one tap is enough.`;
  }
  if (phase !== "live") return "";
  if (item.soldOut) return soldOutNote(context.holds);
  return `If it does not work the first time, you can try again every ${context.repeatWords}.`;
}
