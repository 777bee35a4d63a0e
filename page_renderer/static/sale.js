// The sale page: wires clock, feed, sign-in, claims and view together.

import { Api } from "./api.js";
import { Claim } from "./claim.js";
import { ServerClock, synchronise } from "./clock.js";
import { Delivery } from "./delivery.js";
import { Feed } from "./feed.js";
import { timeOfDay } from "./format.js";
import { keepLanguage } from "./languages.js";
import { Orders } from "./orders.js";
import { SignIn } from "./signin.js";
import { read, session, write } from "./store.js";
import { View } from "./view.js";
import { say } from "./words.js";

const byId = (id) => document.getElementById(id);
// The clock is asked anew now and then, and once within the last minute before the opening.
const SYNC_EVERY_MS = 120_000;
const SYNC_BEFORE_OPENING_MS = 45_000;

const main = byId("content");
const slug = main.dataset.slug;
const inputs = [...main.querySelectorAll("input[name=sku]")];
const items = new Map(
  inputs.map((input) => [input.value, { ...input.dataset, limit: Number(input.dataset.limit) }]),
);

const clock = new ServerClock();
const api = new Api({ token: () => session()?.token ?? null, clock });
const feed = new Feed({
  slug,
  clock,
  opensAtMs: Number(main.dataset.opensAtMs),
  closesAtMs: Number(main.dataset.closesAtMs),
  onChange: fed,
});
const view = new View();
const delivery = new Delivery({ api, slug });
const orders = new Orders({
  api,
  onChange: () => claims.forEach((claim) => claim.hurry()),
});
const claims = new Map(
  [...items.keys()].map((sku) => [
    sku,
    new Claim({ slug, sku, api, onChange: claimChanged, onSettled: () => orders.refresh() }),
  ]),
);
const signIn = new SignIn({ api, onChange: shopperChanged });
let shopperId = session()?.shopperId ?? null;
let lastSyncMs = -Infinity;
let lastPhase = null;

function fed() {
  const phase = feed.phase();
  // A sale that is cancelled takes confirmed orders with it: look again at what this shopper has.
  if (phase === "cancelled" && lastPhase !== null && lastPhase !== phase) restore();
  lastPhase = phase;
  render();
}

// -- what is shown ---------------------------------------------------------------------------------

function chosen() {
  return inputs.find((input) => input.checked).value;
}

function render() {
  const nowMs = clock.now();
  const phase = feed.phase();
  const sku = chosen();
  const claim = claims.get(sku);
  const { label, limit } = items.get(sku);
  const { soldOut } = feed.item(sku);
  const over = phase === "ended" || phase === "cancelled";
  const anyOpen = [...claims.values()].some((one) => one.open);
  view.render({
    phase,
    nowMs,
    opensAtMs: feed.opensAtMs,
    closesAtMs: feed.closesAtMs,
    signedIn: Boolean(session()),
    item: { label, limit, soldOut },
    claim,
    context: {
      nowMs,
      restMs: claim.restMs,
      holds: "holdWords" in main.dataset,
      payment: "holdWords" in main.dataset,
      holdWords: main.dataset.holdWords ?? "",
      limitWords: limit === 1 ? say("limit.one") : String(limit),
      repeatWords: main.dataset.repeatWords,
      timeOfDay,
    },
  });
  view.items(Object.fromEntries([...items.keys()].map((one) => [one, badge(one, phase)])));
  view.price(items.get(sku));
  signIn.show(!session() && (!over || anyOpen));
  // After the end an address is for those who have something coming.
  const mine = ["queued", "reserved", "confirmed"];
  const coming = [...claims.values()].some((one) => mine.includes(one.state.name));
  delivery.show(Boolean(session()) && (!over || coming));
}

function badge(sku, phase) {
  const name = claims.get(sku).state.name;
  if (["queued", "reserved", "confirmed"].includes(name)) return [say(`badge.${name}`), false];
  if (phase === "upcoming" || phase === "ended" || phase === "cancelled") return ["", false];
  const { soldOut, few } = feed.item(sku);
  if (soldOut) return [say("badge.sold_out"), true];
  return [few ? say("badge.few") : "", false];
}

// One beat a second, on the second of what is counted down, and one exactly at the opening.
function beat() {
  render();
  const now = clock.now();
  const target = now < feed.opensAtMs ? feed.opensAtMs : feed.closesAtMs;
  const toNext = (((target - now) % 1000) + 1000) % 1000;
  if (dueForSync(now)) sync();
  setTimeout(beat, Math.max(toNext, 20));
}

// -- clock -----------------------------------------------------------------------------------------

function dueForSync(now) {
  const age = performance.now() - lastSyncMs;
  const toOpening = feed.opensAtMs - now;
  const near = toOpening > 0 && toOpening < SYNC_BEFORE_OPENING_MS;
  return !document.hidden && age > (near ? SYNC_BEFORE_OPENING_MS : SYNC_EVERY_MS);
}

async function sync() {
  lastSyncMs = performance.now();
  // Whether the API answers or not: state.json and its Date header have set the clock already.
  await synchronise(clock, api);
  render();
}

// -- shopper ---------------------------------------------------------------------------------------

function claimChanged(claim) {
  byId("claim-error").textContent = "";
  if (claim.state.name === "signin" && session()) signIn.leave();
  else render();
}

function shopperChanged(shopper) {
  // Another person on this device must not see, or go on with, what the last one began. The same
  // one, signing in again after the token ended, goes on where she was.
  if (shopper && shopper.shopperId !== shopperId) claims.forEach((claim) => claim.reset());
  if (shopper) shopperId = shopper.shopperId;
  if (shopper) restore();
  else forget();
  render();
}

function forget() {
  orders.clear();
  delivery.clear();
  for (const claim of claims.values()) {
    if (claim.state.name !== "signin") claim.reset();
  }
}

async function restore() {
  if (!session()) return;
  const who = shopperId;
  orders.refresh();
  delivery.refresh();
  const answer = await api.get(`/api/v1/me/claims?sale=${slug}`, { signedIn: true });
  if (who !== session()?.shopperId) return;
  if (answer.code === "UNAUTHENTICATED") {
    signIn.leave();
    return;
  }
  const rows = answer.ok ? answer.data.claims : null;
  for (const [sku, claim] of claims) {
    claim.restore(rows && rows.filter((row) => row.sku === sku));
  }
  if (rows) chooseWhatMatters(rows);
}

/** Show the item with something going on, if the shopper has not chosen another. */
function chooseWhatMatters(rows) {
  const busy = rows.findLast((row) => claims.get(row.sku)?.busy);
  if (busy && !claims.get(chosen()).open) choose(busy.sku);
}

// -- hands -----------------------------------------------------------------------------------------

function choose(sku) {
  const input = inputs.find((one) => one.value === sku);
  if (input) input.checked = true;
  showPicture();
  render();
}

/** Bring the chosen item's picture into view, without moving the page. */
function showPicture() {
  const list = byId("pictures");
  const own = list && [...list.children].find((one) => one.dataset.skus.split(" ").includes(chosen()));
  if (own) list.scrollTo({ left: own.offsetLeft - list.firstElementChild.offsetLeft, behavior: "auto" });
}

byId("buy").addEventListener("click", () => {
  if (session()) claims.get(chosen()).tap();
  else signIn.focus();
});

for (const [id, act] of [
  ["claim-pay", (orderId) => orders.pay(orderId)],
  ["claim-cancel", (orderId) => orders.giveBack(orderId)],
]) {
  byId(id).addEventListener("click", async () => {
    const { orderId } = claims.get(chosen()).state;
    byId(id).disabled = true;
    byId("claim-error").textContent = await act(orderId);
    byId(id).disabled = false;
  });
}

byId("claim-stop").addEventListener("click", () => claims.get(chosen()).stop());

byId("items").addEventListener("change", () => {
  byId("claim-error").textContent = "";
  showPicture();
  write(`chosen.${slug}`, chosen());
  render();
});

function hurry() {
  claims.forEach((claim) => claim.hurry());
}
addEventListener("online", hurry);
addEventListener("pageshow", (event) => event.persisted && restore());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  hurry();
  render();
});

// -- start -----------------------------------------------------------------------------------------

keepLanguage();
if (items.has(read(`chosen.${slug}`))) choose(read(`chosen.${slug}`));
feed.start();
beat();
restore();
