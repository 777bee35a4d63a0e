// Times, durations and money as people read them, in the page's language and the shopper's zone.

import { TAG, say } from "./words.js";

const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

const DAY_AND_TIME = new Intl.DateTimeFormat(TAG, {
  weekday: "long",
  day: "numeric",
  month: "long",
  hour: "2-digit",
  minute: "2-digit",
});
const DAY = new Intl.DateTimeFormat(TAG, { day: "numeric", month: "long" });
const TIME = new Intl.DateTimeFormat(TAG, { hour: "2-digit", minute: "2-digit" });
const TIME_TO_SECONDS = new Intl.DateTimeFormat(TAG, { timeStyle: "medium" });

/** `Friday 4 December at 18:00 your time (Europe/Lisbon)`; the day is left out when it is today. */
export function yourTime(ms, nowMs) {
  const zone = ZONE ?? say("when.no_zone");
  if (sameDay(ms, nowMs)) return say("when.today", { time: TIME.format(ms), zone });
  return say("when.day", { time: DAY_AND_TIME.format(ms).replace(",", ""), zone });
}

export function timeOfDay(ms) {
  return (ms % 60_000 === 0 ? TIME : TIME_TO_SECONDS).format(ms);
}

/** When something was bought: the time today, the day before. */
export function dayOrTime(ms, nowMs) {
  return sameDay(ms, nowMs) ? TIME.format(ms) : DAY.format(ms);
}

function sameDay(ms, otherMs) {
  return new Date(ms).toDateString() === new Date(otherMs).toDateString();
}

/** `2 days 04:12:33`, `04:12:33`: whole seconds, rounded up, so that 00:00:00 means now. */
export function countdown(ms) {
  const total = Math.max(0, Math.ceil(ms / 1000));
  const days = Math.floor(total / 86_400);
  const parts = [Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60, total % 60];
  const clock = parts.map((part) => String(part).padStart(2, "0")).join(":");
  return days === 0 ? clock : `${say("unit.days", { n: days })} ${clock}`;
}

export function money({ amount_minor: minor, currency }) {
  const format = new Intl.NumberFormat(TAG, { style: "currency", currency });
  return format.format(minor / 10 ** format.resolvedOptions().maximumFractionDigits);
}

/** Countries by name in the page's language, in its order: `[["DE", "Germany"], …]`. */
export function countries(codes) {
  const names = new Intl.DisplayNames(TAG, { type: "region" });
  const order = new Intl.Collator(TAG);
  return codes.map((code) => [code, names.of(code)]).sort((one, other) => order.compare(one[1], other[1]));
}
