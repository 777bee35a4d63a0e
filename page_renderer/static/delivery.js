// Where the order shall go, asked before the opening so that nothing has to be typed at it.
//
// It is kept by the shop alone, for this sale: an address in this browser's storage would wait there for
// whoever uses the device next.

import { countries } from "./format.js";
import { sayCode, say } from "./words.js";

const byId = (id) => document.getElementById(id);
const FIELDS = ["name", "address", "postal_code", "city", "country"];
const LATER_MS = 15_000;
// ISO 3166-1, without places where nobody lives.
const COUNTRIES =
  "AD AE AF AG AI AL AM AO AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BW BY BZ CA CC " +
  "CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA " +
  "GB GD GE GF GG GH GI GL GM GN GP GQ GR GT GU GW GY HK HN HR HT HU ID IE IL IM IN IQ IR IS IT JE JM JO JP KE KG " +
  "KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT " +
  "MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS " +
  "RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TG TH TJ TK TL TM TN TO TR TT TV TW " +
  "TZ UA UG US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";

export class Delivery {
  constructor({ api, slug }) {
    this.api = api;
    this.path = `/api/v1/me/delivery?sale=${slug}`;
    this.wanted = byId("delivery") !== null;
    this.known = false;
    this.turn = 0;
    if (!this.wanted) return;
    byId("delivery-country").append(...countries(COUNTRIES.split(" ")).map(([code, name]) => new Option(name, code)));
    byId("delivery-country").value = likelyCountry();
    byId("delivery-form").addEventListener("submit", (event) => this.#save(event));
    byId("delivery-change").addEventListener("click", () => {
      this.#step(null);
      byId("delivery-name").focus();
    });
  }

  /** Ask what is kept; after signing in, and after loading the page. */
  async refresh() {
    if (!this.wanted) return;
    this.turn += 1;
    const turn = this.turn;
    const answer = await this.api.get(this.path, { signedIn: true });
    if (turn !== this.turn) return;
    if (answer.ok) {
      this.known = true;
      this.#step(answer.data.address ? answer.data : null);
    } else if (answer.code === "NOT_FOUND") {
      this.known = true;
      this.#step(null);
    } else if (answer.code !== "UNAUTHENTICATED") {
      // The form stays away until it is known what is kept: nobody should type it twice.
      setTimeout(() => turn === this.turn && this.refresh(), LATER_MS);
    }
  }

  clear() {
    if (!this.wanted) return;
    this.turn += 1;
    this.known = false;
    byId("delivery-form").reset();
    byId("delivery-country").value = likelyCountry();
    this.#step(null);
  }

  show(visible) {
    if (this.wanted) byId("delivery").hidden = !(visible && this.known);
  }

  async #save(event) {
    event.preventDefault();
    const form = byId("delivery-form");
    const body = Object.fromEntries(FIELDS.map((name) => [name, form.elements[name].value.trim()]));
    const empty = FIELDS.find((name) => body[name] === "");
    if (empty) {
      this.#fail(say("delivery.missing"), form.elements[empty]);
      return;
    }
    const turn = this.turn;
    const button = form.querySelector("button[type=submit]");
    byId("delivery-error").textContent = "";
    button.disabled = true;
    const answer = await this.api.put(this.path, { signedIn: true, body });
    button.disabled = false;
    if (turn !== this.turn) return;
    if (!answer.ok) {
      this.#fail(sayCode("delivery", answer.code), form.elements.name);
      return;
    }
    this.#step(answer.data);
    byId("announce").textContent = say("delivery.saved");
    byId("delivery-title").focus();
  }

  #fail(sentence, field) {
    byId("delivery-error").textContent = sentence;
    field.focus();
  }

  /** Show what is kept, or the form. */
  #step(kept) {
    byId("delivery-error").textContent = "";
    byId("delivery-form").hidden = kept !== null;
    byId("delivery-kept").hidden = kept === null;
    if (!kept) return;
    const form = byId("delivery-form");
    for (const name of FIELDS) form.elements[name].value = kept[name];
    const country = byId("delivery-country").selectedOptions[0]?.textContent ?? kept.country;
    byId("delivery-text").textContent = `${kept.name}, ${kept.address}, ${kept.postal_code} ${kept.city}, ${country}`;
  }
}

/** The region of the browser's first language that names one: a suggestion, no more. */
function likelyCountry() {
  const regions = (navigator.languages ?? []).map((tag) => new Intl.Locale(tag).region);
  return regions.find((region) => region && COUNTRIES.split(" ").includes(region)) ?? "DE";
}
