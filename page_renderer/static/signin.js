// Signing in by contact and one-time code.

import { clearSession, masked, onSessionChange, saveSession, session } from "./store.js";
import { say, sayCode, seconds } from "./words.js";

const byId = (id) => document.getElementById(id);

export class SignIn {
  /** `onChange(shopper | null)` whenever somebody signs in or out, also in another tab. */
  constructor({ api, onChange }) {
    this.api = api;
    this.onChange = onChange;
    this.contact = null;
    this.error = byId("signin-error");
    byId("contact-form").addEventListener("submit", (event) => this.#sendCode(event));
    byId("code-form").addEventListener("submit", (event) => this.#enter(event));
    byId("other-contact").addEventListener("click", () => this.#step(null));
    byId("sign-out").addEventListener("click", () => this.leave());
    onSessionChange(() => this.onChange(session()));
  }

  get shopper() {
    return session();
  }

  /** Show or hide the form and the name in the corner. */
  show(visible) {
    const shopper = this.shopper;
    byId("signin").hidden = !visible;
    byId("account").hidden = !shopper;
    const name = shopper ? say("account.signed_in", { contact: shopper.contact }) : "";
    if (byId("account-name").textContent !== name) byId("account-name").textContent = name;
  }

  focus() {
    (this.contact ? byId("code") : byId("contact")).focus();
  }

  leave() {
    clearSession();
    this.#step(null);
    this.onChange(null);
  }

  /** Show the form for the address, or for the code that went to it. */
  #step(contact) {
    this.contact = contact;
    this.error.textContent = "";
    byId("contact-form").hidden = contact !== null;
    byId("code-form").hidden = contact === null;
    byId("code").value = "";
    if (contact) byId("code-sent").textContent = say("signin.sent", { contact: masked(contact) });
    if (!byId("signin").hidden) this.focus();
  }

  async #sendCode(event) {
    event.preventDefault();
    const contact = byId("contact").value.trim();
    // Only what is certainly not an address is stopped here; the server has the last word.
    if (!/^\S+@\S+$/.test(contact)) {
      this.#fail({ code: "INVALID" }, byId("contact"));
      return;
    }
    const answer = await this.#busy(event.target, () =>
      this.api.post("/api/v1/shoppers/codes", { body: { contact } }),
    );
    if (answer.ok) this.#step(contact);
    else this.#fail(answer, byId("contact"));
  }

  async #enter(event) {
    event.preventDefault();
    const { contact } = this;
    const code = byId("code").value.replace(/\s/g, "");
    const answer = await this.#busy(event.target, () =>
      this.api.post("/api/v1/shoppers/sessions", { body: { contact, code } }),
    );
    if (!answer.ok) {
      // A code of the wrong form is a wrong code, not a wrong address.
      const wrong = ["INVALID", "INVALID_FIELD", "FORBIDDEN"].includes(answer.code);
      this.#fail(wrong ? { code: "UNAUTHENTICATED" } : answer, byId("code"));
      return;
    }
    saveSession(answer.data, contact);
    this.#step(null);
    this.onChange(session());
  }

  async #busy(form, action) {
    const button = form.querySelector("button[type=submit]");
    this.error.textContent = "";
    button.disabled = true;
    try {
      return await action();
    } finally {
      button.disabled = false;
    }
  }

  #fail(answer, field) {
    const time = seconds(answer.retryAfterMs ?? 60_000);
    this.error.textContent = sayCode("signin", answer.code, { time });
    field.focus();
  }
}
