// Times, durations and money as people read them.

const LANGUAGE = "en-GB";
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

const DAY_AND_TIME = new Intl.DateTimeFormat(LANGUAGE, {
  weekday: "long",
  day: "numeric",
  month: "long",
  hour: "2-digit",
  minute: "2-digit",
});
const TIME = new Intl.DateTimeFormat(LANGUAGE, {
  hour: "2-digit",
  minute: "2-digit",
});
const TIME_TO_SECONDS = new Intl.DateTimeFormat(LANGUAGE, { timeStyle: "medium" });

/** `Friday 4 December at 18:00 your time (Europe/Lisbon)`; the day is left out when it is today. */
export function yourTime(ms, nowMs) {
  const sameDay = new Date(ms).toDateString() === new Date(nowMs).toDateString();
  const text = (sameDay ? TIME : DAY_AND_TIME).format(ms).replace(",", "");
  return `${sameDay ? "today at " : ""}${text} your time (${ZONE ?? "this device's zone"})`;
}

export function timeOfDay(ms) {
  return (ms % 60_000 === 0 ? TIME : TIME_TO_SECONDS).format(ms);
}

/** `2 days 04:12:33`, `04:12:33`: whole seconds, rounded up, so that 00:00:00 means now. */
export function countdown(ms) {
  const total = Math.max(0, Math.ceil(ms / 1000));
  const days = Math.floor(total / 86_400);
  const parts = [Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60, total % 60];
  const clock = parts.map((part) => String(part).padStart(2, "0")).join(":");
  if (days === 0) return clock;
  return `${days} ${days === 1 ? "day" : "days"} ${clock}`;
}

/** `7 s`, `2 min`: how long from now, never rounded down. */
export function seconds(ms) {
  const total = Math.max(1, Math.ceil(ms / 1000));
  return total < 120 ? `${total}\u00a0s` : `${Math.ceil(total / 60)}\u00a0min`;
}

/** The same in words, for screen readers. */
export function spokenSeconds(ms) {
  const total = Math.max(1, Math.ceil(ms / 1000));
  if (total >= 120) return `${Math.ceil(total / 60)} minutes`;
  return total === 1 ? "1 second" : `${total} seconds`;
}

export function money({ amount_minor: minor, currency }) {
  const format = new Intl.NumberFormat("en", { style: "currency", currency });
  return format.format(minor / 10 ** format.resolvedOptions().maximumFractionDigits);
}
