// The table of workers: one row each, kept while the worker lives so that the focus stays.

import { make, set } from "./elements.js";
import * as format from "./format.js";

const CELLS = {
  state: "State", rate: "Requests/s", p50: "p50", p99: "p99", lag: "Loop lag", in_flight: "In flight",
  connections: "Connections", memory: "Memory", cpu: "CPU", restarts: "Restarts", age: "Age",
};

export class Workers {
  constructor(table, actions) {
    this.body = table.tBodies[0];
    this.actions = actions;
    this.rows = new Map();
    this.blocked = new Map();
  }

  // The state names what blocked a worker last, the events say when it does.
  told(event) {
    if (event.kind === "WorkerBlocked") this.blocked.set(event.worker, event.culprit);
    else if (event.kind === "WorkerUnblocked") this.blocked.delete(event.worker);
  }

  show(status, paces) {
    const alive = new Set();
    for (const worker of [...status.workers, ...vacant(status)]) {
      alive.add(worker.worker);
      const row = this.rows.get(worker.worker) ?? this.made(worker);
      this.fill(row, worker, paces[worker.worker] ?? {});
    }
    for (const [name, row] of this.rows) {
      if (alive.has(name)) continue;
      row.element.remove();
      this.rows.delete(name);
      this.blocked.delete(name);
    }
  }

  allow(isAllowed, why) {
    this.why = isAllowed ? "" : why;
    for (const row of this.rows.values()) this.arm(row);
  }

  made(worker) {
    // The roles are said, as on a phone the table is not laid out as one.
    const element = make("tr");
    element.setAttribute("role", "row");
    const head = make("th");
    head.scope = "row";
    head.setAttribute("role", "rowheader");
    head.append(make("span", `${worker.slot}`, "slot"));
    if (worker.pid) head.append(make("span", ` generation ${worker.generation} · pid ${worker.pid}`, "quiet"));
    head.title = `worker ${worker.worker}`;
    element.append(head);
    const cells = {};
    for (const [name, label] of Object.entries(CELLS)) {
      cells[name] = make("td", "", name === "state" ? "" : "number");
      cells[name].dataset.label = label;
      cells[name].setAttribute("role", "cell");
      element.append(cells[name]);
    }
    const pill = make("span", "", "pill");
    const note = make("span", "", "note");
    cells.state.append(pill, note);
    const buttons = make("td", "", "buttons");
    buttons.setAttribute("role", "cell");
    const recycle = make("button", "Recycle", "small");
    const dump = make("button", "Stacks", "small plain");
    recycle.setAttribute("aria-label", `Recycle worker ${worker.worker}`);
    dump.setAttribute("aria-label", `Stacks of worker ${worker.worker}`);
    recycle.addEventListener("click", () => this.actions.recycle(worker.slot));
    dump.addEventListener("click", () => this.actions.dump(worker.slot));
    for (const button of [dump, recycle]) button.type = "button";
    if (worker.pid) buttons.append(dump, recycle);
    element.append(buttons);
    const row = { element, cells, pill, note, recycle, order: [worker.slot, worker.incarnation] };
    this.rows.set(worker.worker, row);
    this.arm(row);
    const later = [...this.rows.values()].filter((other) => other !== row && isBefore(row.order, other.order));
    later.sort((one, other) => (isBefore(one.order, other.order) ? -1 : 1));
    this.body.insertBefore(element, later[0]?.element ?? null);
    return row;
  }

  arm(row) {
    row.recycle.disabled = Boolean(this.why);
    row.recycle.title = this.why ?? "";
  }

  fill(row, worker, pace) {
    const culprit = this.blocked.get(worker.worker);
    const state = culprit === undefined ? worker.phase : "blocked";
    set(row.pill, state);
    row.pill.dataset.state = state;
    set(row.note, culprit ?? worker.note);
    set(row.cells.rate, format.count(pace.rate));
    set(row.cells.p50, format.seconds(pace.p50));
    set(row.cells.p99, format.seconds(pace.p99));
    set(row.cells.lag, format.seconds(pace.lag));
    set(row.cells.in_flight, format.count(worker.in_flight));
    set(row.cells.connections, format.count(worker.connections));
    set(row.cells.memory, format.bytes(worker.memory_bytes));
    set(row.cells.cpu, worker.cpu_percent == null ? "–" : `${Math.round(worker.cpu_percent)} %`);
    set(row.cells.restarts, format.count(worker.restarts));
    set(row.cells.age, format.age(worker.uptime));
  }
}

// Slots whose worker is gone and has no successor yet, with the reason.
function vacant(status) {
  const taken = new Set(status.workers.map((worker) => worker.slot));
  return status.slots.filter((slot) => !taken.has(slot.slot)).map((slot) => {
    const soon = slot.next_start_in == null ? "" : `starts again in ${format.seconds(Math.ceil(slot.next_start_in))}`;
    const note = [slot.last_error, soon].filter(Boolean).join("; ");
    return { worker: `${slot.slot}.none`, slot: slot.slot, incarnation: 0, phase: "down", note, restarts: slot.restarts };
  });
}

function isBefore(one, other) {
  return one[0] < other[0] || (one[0] === other[0] && one[1] < other[1]);
}
