// From what is known to what is shown. Each part is written only when it changes, so that a screen
// reader, a selection or a half-made tap is not disturbed every second.

import { countdown, timeOfDay, yourTime } from "./format.js";
import { claimWords, has, noUseWaiting, say, seconds, soldOutNote, spokenSeconds } from "./words.js";

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

  /** `badges`: by SKU, `[words, whether it is sold out]`. */
  items(badges) {
    for (const [sku, [badge, soldOut]] of Object.entries(badges)) {
      const label = document.querySelector(`.item[data-sku="${CSS.escape(sku)}"]`);
      const node = label.querySelector("[data-badge]");
      label.toggleAttribute("data-sold-out", soldOut);
      show(node, badge !== "");
      text(node, badge);
    }
  }

  /** The prices of the chosen item, where the page has one place for them. */
  price({ price, usual, saved }) {
    if (!byId("price")) return;
    text(byId("price"), price);
    show(byId("usual"), Boolean(usual));
    show(byId("saved"), Boolean(usual));
    text(byId("usual").querySelector("s"), usual ?? "");
    text(byId("saved"), saved ?? "");
  }

  announce(sentence) {
    if (sentence === this.said) return;
    this.said = sentence;
    byId("announce").textContent = sentence;
  }

  #phase({ phase, nowMs, opensAtMs, closesAtMs, context }) {
    const label = byId("phase");
    const name = say(`phase.${phase}`);
    if (label.dataset.phase !== phase || label.textContent !== name) {
      const changed = label.dataset.known === "yes";
      label.dataset.phase = phase;
      label.dataset.known = "yes";
      document.body.dataset.phase = phase;
      text(label, name);
      if (changed) this.announce(phase === "live" ? say("spoken.live") : `${name}.`);
    }
    const before = phase === "upcoming";
    const over = phase === "ended" || phase === "cancelled";
    text(byId("clock-words"), clockWords(phase, opensAtMs, closesAtMs, nowMs));
    text(byId("count"), over ? "" : countdown((before ? opensAtMs : closesAtMs) - nowMs));
    const note = phase === "sold_out" ? soldOutNote(context.holds) : (has(`note.${phase}`) ? say(`note.${phase}`) : "");
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
    show(byId("claim-stop"), Boolean(words.stop));
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
      const time = spokenSeconds(restMs);
      const wait = say(claim.state.byItself ? "spoken.trying_again_in" : "spoken.try_again_in", { time });
      const then = noUseWaiting(claim.state.code) ? byId("claim-text").textContent : wait;
      this.announce(`${what}. ${then}`);
    }
    const again = this.rested && !resting && claim.state.name === "refused";
    if (again && !noUseWaiting(claim.state.code) && phase === "live" && !item.soldOut) {
      this.announce(say("spoken.try_again"));
    }
    this.rested = resting;
  }
}

function clockWords(phase, opensAtMs, closesAtMs, nowMs) {
  if (phase === "cancelled") return say("clock.cancelled");
  if (phase === "upcoming") return say("clock.opens", { when: yourTime(opensAtMs, nowMs) });
  if (phase !== "ended") return say("clock.ends", { when: yourTime(closesAtMs, nowMs) });
  // Ended by hand, before its time: the page does not know when.
  return closesAtMs > nowMs ? say("clock.over") : say("clock.ended", { when: yourTime(closesAtMs, nowMs) });
}

/** The button's words, and whether it may be tapped. */
function buyLabel({ phase, signedIn, item, claim }) {
  const { restMs, state } = claim;
  if (phase === "paused") return [say("buy.paused"), false];
  if (phase === "ended" || phase === "cancelled") return [say("buy.over"), false];
  if (["asking", "early", "retrying"].includes(state.name)) return [say(`buy.${state.name}`), false];
  const buy = say("buy.item", { name: item.label });
  if (phase === "upcoming") return [buy, false];
  if (item.soldOut) return [say("buy.sold_out"), false];
  if (!signedIn) return [say("buy.sign_in"), true];
  if (restMs > 0 || state.byItself) {
    const again = state.byItself ? "buy.by_itself_in" : "buy.again_in";
    return [noUseWaiting(state.code) ?? say(again, { time: seconds(restMs) }), false];
  }
  return [state.name === "confirmed" ? say("buy.one_more") : buy, true];
}

function hint({ phase, signedIn, opensAtMs, item, context }) {
  if (phase === "upcoming") {
    const at = say("hint.opens", { time: timeOfDay(opensAtMs) });
    return `${at} ${say(signedIn ? "hint.no_reload" : "hint.sign_in")}`;
  }
  if (phase !== "live") return "";
  if (item.soldOut) return soldOutNote(context.holds);
  return say("hint.every", { repeat: context.repeatWords });
}
