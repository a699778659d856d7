// The versions of a gallery, newest first: what each holds, which is in force, and which were made to be tried first.

import * as api from "./api.js";
import { complain } from "./complaints.js";
import { button, element } from "./elements.js";
import { t, time } from "./words.js";

const FEW = 10;
const $ = (id) => document.getElementById(id);
let all = false;

export async function showVersions(gallery, activate) {
  const { versions, current } = await api.versions(gallery);
  const newest = versions.toReversed();
  const evaluations = versions.some(({ staged }) => staged) ? (await api.jobs("evaluations", { gallery, limit: 100 })).evaluations : [];
  const lines = newest.map((one, number) => {
    const made = line(gallery, one, newest[number + 1], one.version === current, activate);
    if (one.staged) made.firstElementChild.append(evaluated(gallery, one.version, evaluations.find(({ request }) => request.version === one.version)));
    return made;
  });
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

// How a staged version answers next to the one that it was compared with; a button that has it compared, where it was not.
function evaluated(gallery, version, job) {
  const place = element("div", { className: "quiet" });
  const show = (words) => place.replaceChildren(words);
  const report = (done) => {
    if (done.status !== "succeeded") throw api.jobFailure(done);
    const { version: own, against } = done.result.leave_one_out;
    show(own.queries ? t("versions.evaluated", { right: String(own.right), count: own.queries, other: String(against.right), against: String(done.result.against.version) }) : t("versions.evaluated.none"));
  };
  const follow = (open) => {
    show(t("waiting"));
    return api.follow(open, () => {}).then(report).catch((failure) => complain(place, failure));
  };
  if (job) follow(job);
  else {
    const start = button(t("versions.evaluate"), () => api.evaluate(gallery, version).then(follow, (failure) => complain(place, failure)));
    start.setAttribute("aria-label", t("versions.evaluate.one", { version: String(version) }));
    show(start);
  }
  return place;
}
