// One try to buy: its key, kept until its outcome is final.
//
// The key is made and stored BEFORE the first request leaves. A retry with the same key finds the
// same ticket, so after a lost answer, a dead battery or a second tap nobody buys twice and nobody
// loses a piece. A new key is made only after the ticket has ended.

import { attemptName, read, remove, session, write } from "./store.js";

export class Attempt {
  constructor(slug, sku) {
    this.slug = slug;
    this.sku = sku;
  }

  get #name() {
    const shopper = session();
    return shopper ? attemptName(this.slug, this.sku, shopper.shopperId) : null;
  }

  /**
   * `{key, inDoubt, ticketPath, placeAtFirst}`, or null when no try is open. `inDoubt`: a request
   * with this key left, and the gate's word on it has not come back.
   */
  get kept() {
    return this.#name ? read(this.#name) : null;
  }

  /** The open try, or a new one. */
  begin() {
    const kept = this.kept;
    if (kept) return kept;
    const fresh = { key: newKey(), inDoubt: false, ticketPath: null, placeAtFirst: null };
    write(this.#name, fresh);
    return fresh;
  }

  update(changes) {
    if (this.#name) write(this.#name, { ...this.begin(), ...changes });
  }

  end() {
    if (this.#name) remove(this.#name);
  }
}

function newKey() {
  // randomUUID is there only over https and on localhost; a phone that looks at a demo over the
  // local network gets the same 122 random bits by hand.
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
