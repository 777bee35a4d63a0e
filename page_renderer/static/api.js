// HTTP with three endings: an answer, a refusal with a code, or not knowing.
//
// "Not knowing" is an ending of its own. A lost answer may stand for a bought piece, so nothing here
// turns it into "failed".

const TIMEOUT_MS = 10_000;
// A buy may be held back on purpose until its moment in line comes, so it gets longer.
export const BUY_TIMEOUT_MS = 30_000;
const RETRY_AFTER_MAX_MS = 120_000;

// What an answer means when it carries no code of ours: nginx, or something in between, spoke.
const CODE_BY_STATUS = {
  401: "UNAUTHENTICATED",
  403: "FORBIDDEN",
  404: "NOT_FOUND",
  410: "ENDED",
  422: "INVALID_FIELD",
  429: "RATE_LIMITED",
};

export class Api {
  /** `token` gives the shopper's bearer token or null; `clock` learns from every Date header. */
  constructor({ token, clock }) {
    this.token = token;
    this.clock = clock;
  }

  get(path, options = {}) {
    return this.#call("GET", path, options);
  }

  post(path, options = {}) {
    return this.#call("POST", path, options);
  }

  put(path, options = {}) {
    return this.#call("PUT", path, options);
  }

  async #call(method, path, { body, key, signedIn = false, timeoutMs = TIMEOUT_MS }) {
    const headers = { Accept: "application/json" };
    if (signedIn) {
      const token = this.token();
      if (!token) return refusal(401, "UNAUTHENTICATED", null);
      headers.Authorization = `Bearer ${token}`;
    }
    if (key) headers["Idempotency-Key"] = key;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), timeoutMs);
    const sent = performance.now();
    try {
      const response = await fetch(ownPath(path), {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
        referrerPolicy: "no-referrer",
        signal: abort.signal,
      });
      const received = performance.now();
      this.clock.header(response.headers.get("Date"), sent, received);
      // Whoever reads only half a body gets an exception here, and that is "not knowing".
      const data = parsed(await response.text());
      if (response.ok) {
        return data === null
          ? unknown()
          : { ok: true, status: response.status, data, sent, received };
      }
      return refusal(response.status, codeOf(response.status, data), retryAfterMs(response, data));
    } catch {
      return unknown();
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Only paths of this origin are ever called, whatever an answer says. */
export function ownPath(path) {
  const url = new URL(path, location.origin);
  if (url.origin !== location.origin) throw new TypeError("a path of another origin");
  return url.pathname + url.search;
}

/** A link to follow, or null: only http(s), never `javascript:` or `data:`. */
export function webUrl(value) {
  try {
    const url = new URL(value, location.origin);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}

/** The body as JSON; an empty one is an empty object, an unreadable one null. */
function parsed(text) {
  if (text.trim() === "") return {};
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function codeOf(status, data) {
  // Whoever says 5xx may have carried the request out before falling over. Only BACKLOG is the
  // gate's own word that it did not.
  if (status >= 500) return data?.code === "BACKLOG" ? "BACKLOG" : "DEGRADED";
  return data?.code ?? CODE_BY_STATUS[status] ?? "INVALID";
}

function unknown() {
  return { ok: false, status: 0, code: "UNKNOWN", retryAfterMs: null };
}

function refusal(status, code, retryMs) {
  return { ok: false, status, code, retryAfterMs: retryMs };
}

function retryAfterMs(response, data) {
  let ms = null;
  if (Number.isFinite(data?.retry_after_ms)) {
    ms = data.retry_after_ms;
  } else {
    const header = response.headers.get("Retry-After");
    if (header !== null && /^\d+$/.test(header.trim())) ms = Number(header) * 1000;
    else if (header !== null) ms = Date.parse(header) - Date.now();
  }
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), RETRY_AFTER_MAX_MS) : null;
}
