// The language a shopper chose, kept in a cookie: the server picks the page by it, so that the right
// one comes at once. It says nothing but "de" and is sent to this origin alone.

const KEPT_S = 365 * 24 * 3600;

export function keepLanguage() {
  for (const link of document.querySelectorAll("[data-language]")) {
    link.addEventListener("click", () => {
      document.cookie = `lang=${link.dataset.language}; Path=/; Max-Age=${KEPT_S}; SameSite=Lax`;
    });
  }
}
