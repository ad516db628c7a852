// The lists of what happened: all of it, newest first, and apart from it what went wrong.

import { make } from "./elements.js";
import * as format from "./format.js";

const MOST = 200;
const LEVELS = { debug: 0, info: 1, warning: 2, error: 3 };
const TROUBLE = new Set([
  "WorkerBlocked", "RequestOverdue", "WorkerSilent", "WorkerStack", "WorkerDied", "WorkerKilled", "WorkerBootFailed",
  "SpawnFailed", "RequestsCut", "RetirementPlanned", "ReloadRejected", "RestartDelayed",
  "BreakerOpened", "TemplateFailed", "TemplateDied", "SidecarDied", "CertificateExpires",
]);

export class Happenings {
  constructor(events, trouble, level) {
    Object.assign(this, { events, trouble, level });
    level.addEventListener("change", () => this.filter());
    this.empty();
  }

  add(event) {
    const item = entry(event);
    this.events.prepend(item);
    this.hide(item);
    cut(this.events);
    if (!TROUBLE.has(event.kind) && event.level !== "error") return;
    this.trouble.querySelector(".nothing")?.remove();
    this.trouble.prepend(entry(event, event.stack ?? event.traceback ?? ""));
    cut(this.trouble);
  }

  empty() {
    this.events.replaceChildren();
    this.trouble.replaceChildren(make("li", "Nothing: no crash, no block, no restart that was not planned.", "nothing quiet"));
  }

  filter() {
    for (const item of this.events.children) this.hide(item);
  }

  hide(item) {
    item.hidden = LEVELS[item.dataset.level] < LEVELS[this.level.value];
  }
}

function entry(event, more = "") {
  const item = make("li");
  item.dataset.level = event.level;
  const time = make("time", format.clock(event.time), "quiet");
  time.dateTime = new Date(event.time * 1000).toISOString();
  item.append(time, make("span", event.text, "text"));
  if (more) {
    const details = make("details");
    details.append(make("summary", "Stack"), make("pre", more));
    item.append(details);
  }
  return item;
}

function cut(list) {
  while (list.children.length > MOST) list.lastElementChild.remove();
}
