// The versions of a gallery, newest first: what each holds, which is in force, and which were made to be tried first.

import * as api from "./api.js";
import { button, element } from "./elements.js";
import { t, time } from "./words.js";

const FEW = 10;
const $ = (id) => document.getElementById(id);
let all = false;

export async function showVersions(gallery, activate) {
  const { versions, current } = await api.versions(gallery);
  const newest = versions.toReversed();
  const lines = newest.map((one, number) => line(gallery, one, newest[number + 1], one.version === current, activate));
  $("versions").replaceChildren(...(all ? lines : lines.slice(0, FEW)));
  $("more-versions").hidden = all || lines.length <= FEW;
  $("more-versions").onclick = () => {
    all = true;
    showVersions(gallery, activate);
  };
}

function line(gallery, { version, item_count: count, created_at: made, staged }, before, current, activate) {
  const more = before ? count - before.item_count : count;
  const act = current ? element("span", { textContent: t("versions.current") }) : button(t("versions.activate"), () => activate(version));
  if (!current) act.setAttribute("aria-label", t("versions.activate.one", { version: String(version) }));
  const compare = element("a", { href: api.at(`/galleries/${encodeURIComponent(gallery)}/versions?from=${version}`), textContent: t("versions.compare") });
  compare.setAttribute("aria-label", t("versions.compare.one", { version: String(version) }));
  const cells = [[t("galleries.version"), staged ? t("versions.staged", { version: String(version) }) : String(version)], [t("galleries.pictures"), `${t("number", { count })}${more ? ` (${more > 0 ? "+" : "−"}${Math.abs(more)})` : ""}`], [t("versions.made"), time(made)], ["", current ? act : element("span", { className: "row start" }, act, compare)]];
  return element("tr", { className: current ? "now" : "" }, ...cells.map(([name, content]) => {
    const cell = element("td", {}, content);
    if (name) cell.dataset.name = name;
    return cell;
  }));
}
