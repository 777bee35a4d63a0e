// "My orders": what this shopper has, with paying and giving back where that is possible.

import { webUrl } from "./api.js";
import { dayOrTime, money, timeOfDay } from "./format.js";
import { has, say, sayCode } from "./words.js";

const byId = (id) => document.getElementById(id);
const REFRESH_MS = 15_000;
const SHOWN_MAX = 20;
const QUIET = { expired: 1, cancelled: 1, rejected: 1 };

export class Orders {
  /** `onChange()` after an order was changed here. */
  constructor({ api, onChange }) {
    this.api = api;
    this.onChange = onChange;
    this.timer = null;
    this.turn = 0;
    byId("orders-list").addEventListener("click", (event) => {
      const button = event.target.closest("button[data-order]");
      if (button) this.#act(button);
    });
  }

  clear() {
    this.turn += 1;
    clearTimeout(this.timer);
    byId("orders").hidden = true;
    byId("orders-list").replaceChildren();
    byId("orders-note").textContent = "";
  }

  async refresh() {
    this.turn += 1;
    const turn = this.turn;
    clearTimeout(this.timer);
    const answer = await this.api.get("/api/v1/orders", { signedIn: true });
    if (turn !== this.turn) return;
    if (answer.ok) this.#show(answer.data.orders);
    // Without an answer the last list stays: it is old, not wrong.
    const waiting = !answer.ok || answer.data.orders.some((order) => order.status === "reserved");
    if (waiting && answer.code !== "UNAUTHENTICATED") {
      this.timer = setTimeout(() => this.refresh(), REFRESH_MS);
    }
  }

  /** Go to the payment page; a sentence when that is not possible. */
  async pay(orderId) {
    const answer = await this.api.post(`/api/v1/orders/${encodeURIComponent(orderId)}/pay`, {
      signedIn: true,
    });
    const url = answer.ok ? webUrl(answer.data.payment_url) : null;
    if (!url) return refused(answer);
    location.assign(url);
    return "";
  }

  /** Ask, then cancel; a sentence when that is not possible, "" otherwise. */
  async giveBack(orderId) {
    if (!(await confirmed())) return "";
    const answer = await this.api.post(`/api/v1/orders/${encodeURIComponent(orderId)}/cancel`, {
      signedIn: true,
    });
    this.onChange();
    this.refresh();
    return answer.ok ? "" : refused(answer);
  }

  async #act(button) {
    const { order, action } = button.dataset;
    button.disabled = true;
    const text = await (action === "pay" ? this.pay(order) : this.giveBack(order));
    button.disabled = false;
    byId("orders-note").textContent = text;
  }

  #show(orders) {
    const newest = [...orders].sort((one, other) => (one.created_at < other.created_at ? 1 : -1));
    byId("orders").hidden = newest.length === 0;
    const focused = document.activeElement?.dataset;
    byId("orders-list").replaceChildren(...newest.slice(0, SHOWN_MAX).map((order) => this.#row(order)));
    // The list was rebuilt under the shopper's fingers: give the keyboard its place back.
    if (focused?.order) {
      byId("orders-list")
        .querySelector(`[data-order="${CSS.escape(focused.order)}"][data-action="${focused.action}"]`)
        ?.focus();
    }
  }

  #row(order) {
    const row = element("li", "order");
    const words = element("div", "order-words");
    const quantity = order.quantity > 1 ? `${order.quantity} × ` : "";
    words.append(element("span", "order-name", quantity + (order.name ?? order.sku)));
    words.append(element("span", "order-more", details(order)));
    const status = element("span", "order-status", statusOf(order));
    status.dataset.tone = order.status === "confirmed" ? "good" : QUIET[order.status] ? "quiet" : "wait";
    row.append(words, status);
    if (order.status === "reserved") {
      const actions = element("div", "actions");
      if (order.pay_by) actions.append(action(order, "pay", say("order.pay"), "second"));
      actions.append(action(order, "cancel", say("order.give_back"), "second"));
      row.append(actions);
    }
    return row;
  }
}

/** The receipt's lines: what is owed, when it was bought, and the number to ask by. */
function details(order) {
  const parts = [money(order.total ?? order.price)];
  if (order.status === "reserved" && order.pay_by) {
    parts.push(say("order.pay_by", { time: timeOfDay(Date.parse(order.pay_by)) }));
  } else {
    parts.push(say("order.bought", { when: dayOrTime(Date.parse(order.created_at), Date.now()) }));
  }
  // The end of the id is what differs between orders of one second.
  parts.push(say("order.number", { number: order.id.slice(-8).toUpperCase() }));
  return parts.join(" · ");
}

function statusOf(order) {
  return has(`order.${order.status}`) ? say(`order.${order.status}`) : order.status;
}

function action(order, name, label, style) {
  const button = element("button", style, label);
  button.type = "button";
  button.dataset.order = order.id;
  button.dataset.action = name;
  return button;
}

// Text only ever becomes text; nothing in these scripts makes markup from words.
function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function refused(answer) {
  return sayCode("action", answer.code);
}

function confirmed() {
  const dialog = byId("give-back");
  dialog.returnValue = "keep";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "give-back"), {
      once: true,
    });
  });
}
