// The page's words in the reader's language: the same table as the templates' (web/pages/languages.py), and numbers and times.

const table = JSON.parse(document.getElementById("messages").textContent);
export const language = document.documentElement.lang;
const plural = new Intl.PluralRules(language);
const whole = new Intl.NumberFormat(language);
const moment = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });

// The message `key`, its `{name}`s replaced; `count` chooses among plural forms and is written with its separators.
export function t(key, values = {}) {
  const found = table[key];
  const text = typeof found === "string" ? found : (found?.[plural.select(values.count ?? 0)] ?? found?.other ?? key);
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? whole.format(values[name]) : (values[name] ?? "")));
}

// The message of a family of keys that grows elsewhere (a service's codes), or what is said without one.
export const known = (key, otherwise) => (key in table ? t(key) : otherwise);
export const time = (iso) => (iso ? moment.format(new Date(iso)) : "–");
export const percent = (fraction) => (Number.isFinite(fraction) ? (fraction >= 0.995 ? t("percent.most") : `${Math.round(100 * fraction)} %`) : "–");
export const exactly = (fraction) => `${Number((100 * fraction).toFixed(1))} %`;
