// The list of sales: which are live, and how long until the others open. Phases come from each
// sale's state.json for the few that are near or running; for the rest the stored times are enough.

import { ServerClock } from "./clock.js";
import { countdown, yourTime } from "./format.js";
import { keepLanguage } from "./languages.js";
import { say } from "./words.js";

const LOOK_EVERY_MS = 15_000;
const NEAR_MS = 3_600_000;
// A page with five hundred sales must not make five hundred requests.
const LOOKED_AT_MAX = 12;

const clock = new ServerClock();
const cards = [...document.querySelectorAll(".card")].map((node) => ({
  node,
  slug: node.dataset.slug,
  opensAtMs: Number(node.dataset.opensAtMs),
  closesAtMs: Number(node.dataset.closesAtMs),
  said: null,
}));

function phaseOf(card) {
  const now = clock.now();
  if (card.said === "cancelled" || card.said === "ended") return card.said;
  if (now >= card.closesAtMs) return "ended";
  if (now < card.opensAtMs) return "upcoming";
  return ["paused", "sold_out"].includes(card.said) ? card.said : "live";
}

function render() {
  const now = clock.now();
  for (const card of cards) {
    const phase = phaseOf(card);
    const label = card.node.querySelector("[data-label]");
    label.dataset.phase = phase;
    label.textContent = say(`phase.${phase}`);
    const at = phase === "upcoming" ? card.opensAtMs : card.closesAtMs;
    const counts = phase !== "ended" && phase !== "cancelled";
    card.node.querySelector("[data-when]").textContent = when(phase, at, now);
    card.node.querySelector("[data-count]").textContent = counts ? countdown(at - now) : "";
  }
}

function when(phase, at, now) {
  if (phase === "cancelled") return say("clock.none");
  if (phase === "upcoming") return say("clock.opens", { when: yourTime(at, now) });
  if (phase !== "ended") return say("clock.ends", { when: yourTime(at, now) });
  return at > now ? say("clock.past") : say("clock.ended", { when: yourTime(at, now) });
}

async function look() {
  const now = clock.now();
  const near = cards.filter((card) => card.opensAtMs - now < NEAR_MS && now < card.closesAtMs);
  await Promise.all(near.slice(0, LOOKED_AT_MAX).map(lookAt));
  render();
}

async function lookAt(card) {
  const sent = performance.now();
  try {
    const response = await fetch(`/s/${card.slug}/state.json`, {
      cache: "no-store",
      credentials: "omit",
    });
    clock.header(response.headers.get("Date"), sent, performance.now());
    if (response.ok) card.said = (await response.json()).phase;
  } catch {
    // Without it the stored times decide.
  }
}

keepLanguage();
render();
look();
setInterval(render, 1000);
setInterval(() => document.hidden || look(), LOOK_EVERY_MS);
