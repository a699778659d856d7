// The events that an endpoint is notified of, as boxes to be ticked.

const boxes = () => [...document.querySelectorAll("#events input")];

export const eventsPicked = () => boxes().filter(({ checked }) => checked).map(({ value }) => value);

export function pickEvents(events) {
  for (const box of boxes()) box.checked = events.includes(box.value);
  for (const kinds of document.querySelectorAll("#events details")) kinds.open = Boolean(kinds.querySelector(":checked"));
}
