// What survives a closed tab: the sign-in and each unfinished try.
//
// Decision: the access token is kept in localStorage, not in an HttpOnly cookie. The page is static
// and its buy request must not be forgeable from another site, so the token travels in a header that
// only our own script sets (no cookie: no CSRF). What localStorage is feared for is a foreign script
// that reads it: the CSP lets none in (script-src 'self', no inline code, no third party), and
// merchants' words only ever become text. Signing out removes it.
//
// The link (the secret address of a buy) is never stored: it is short-lived, and asking for a new one
// costs nothing.

const PREFIX = "stampede.";
// A private window may refuse storage: the page then works as long as it stays open.
const memory = new Map();

export function read(name) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? (memory.get(name) ?? null) : JSON.parse(text);
  } catch {
    return memory.get(name) ?? null;
  }
}

export function write(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
    memory.delete(name);
  } catch {
    // A full or refused store must not stop a purchase.
    memory.set(name, value);
  }
}

export function remove(name) {
  memory.delete(name);
  try {
    localStorage.removeItem(PREFIX + name);
  } catch {
    // As above.
  }
}

/** Call back when another tab of this browser changes one of our names. */
export function onOtherTab(name, callback) {
  addEventListener("storage", (event) => {
    if (event.key === PREFIX + name || event.key === null) callback();
  });
}

const SESSION = "session";

/** The signed-in shopper `{token, shopperId, contact}`, or null. Whether the token still holds is the
 * server's to say: this device's clock may be wrong. */
export function session() {
  return read(SESSION);
}

export function saveSession({ access_token, shopper_id }, contact) {
  write(SESSION, { token: access_token, shopperId: shopper_id, contact: masked(contact) });
}

export function clearSession() {
  remove(SESSION);
}

export function onSessionChange(callback) {
  onOtherTab(SESSION, callback);
}

/** `a•••@mail.example`: enough to recognise, not enough to read over a shoulder. */
export function masked(contact) {
  const at = contact.lastIndexOf("@");
  if (at < 1) return `${contact.slice(0, 2)}•••${contact.slice(-2)}`;
  return `${contact.slice(0, 1)}•••${contact.slice(at)}`;
}

/** Under which name the try of one shopper for one item is kept. */
export function attemptName(slug, sku, shopperId) {
  return `attempt.${slug}.${sku}.${shopperId}`;
}
