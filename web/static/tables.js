// Rows of tables, whose cells say what they are on a phone, where there are no headings over them.

import { element } from "./elements.js";

// `cells`: [[class, name of the column, content]]; "name" and "actions" are classes that need no name next to them.
export function row(cells, properties = {}) {
  return element("tr", properties, ...cells.map(([className, name, content]) => {
    const cell = element("td", { className }, content ?? "–");
    if (name) cell.dataset.name = name;
    return cell;
  }));
}

// A status in a pill of its colour.
export const pill = (kind, words) => element("span", { className: `state ${kind}`, textContent: words });
