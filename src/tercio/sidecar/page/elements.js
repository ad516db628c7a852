// Small helpers of the page. Text is always set as text: it may be anybody's.

export const find = (id) => document.getElementById(id);

export function make(tag, text = "", className = "") {
  const element = document.createElement(tag);
  if (text !== "") element.textContent = text;
  if (className) element.className = className;
  return element;
}

// Changing what is the same already would be read out again.
export function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
