// Where a tag goes: at a corner of its box, above, inside or below, where it covers no other tag and no neighbour.

const GAP = 2; // pixels between tags

const shared = (a, b) => Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) * Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));

// The rectangle (x1, y1, x2, y2) of a tag for `box`; all in pixels of the frame. `others` are the neighbours' boxes, `taken`
// the other tags. `measure(most)` sets the tag's greatest width (0: its number alone) and gives [width, height]; null where its words do
// not fit in.
export function placed(box, others, taken, frame, measure) {
  const widths = [frame.width * 0.6, Math.max(56, box[2] - box[0]), 0];
  let best = null;
  for (const most of widths) {
    const size = measure(most);
    if (!size) continue;
    const [width, height] = size;
    for (const [rank, spot] of spots(box, width, height, frame).entries()) {
      const covered = taken.reduce((sum, tag) => sum + shared(grown(spot), tag), 0);
      const hidden = others.reduce((sum, other) => sum + shared(spot, other), 0);
      const cost = 1000 * covered + hidden + rank / 100;
      if (!best || cost < best.cost - 1e-6) best = { cost, spot, most };
    }
    if (best.cost < 1) break;
  }
  measure(best.most);
  return best.spot;
}

const grown = ([left, top, right, bottom]) => [left - GAP, top - GAP, right + GAP, bottom + GAP];

function spots([left, top, right, bottom], width, height, frame) {
  const inside = (x, y) => {
    const at = [Math.max(0, Math.min(x, frame.width - width)), Math.max(0, Math.min(y, frame.height - height))];
    return [...at, at[0] + width, at[1] + height];
  };
  const found = [];
  for (const y of [top - height, top, bottom, bottom - height]) {
    if (y < 0 || y + height > frame.height) continue;
    found.push(inside(left, y), inside(right - width, y));
  }
  for (let y = top + height; y + 2 * height < bottom; y += height) found.push(inside(left, y), inside(right - width, y));
  return found.length ? found : [inside(left, top)];
}
