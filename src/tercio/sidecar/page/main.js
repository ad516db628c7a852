// Puts the parts of the page together.

import { Api } from "./api.js";
import { Charts } from "./charts.js";
import { find, make, set } from "./elements.js";
import * as format from "./format.js";
import { Happenings } from "./happenings.js";
import { Orders } from "./orders.js";
import { Stream } from "./stream.js";
import { Workers } from "./workers.js";

const api = new Api();
const charts = new Charts(find("charts"));
const happenings = new Happenings(find("events"), find("trouble"), find("level"));
const orders = new Orders(api, say);
const workers = new Workers(find("workers"), orders);
let pid = 0;

function say(text, isError = false) {
  set(find("said"), text);
  find("said").classList.toggle("error", isError);
}

function show({ at, status, traffic, paces }) {
  if (status.pid !== pid) {
    if (pid) happenings.empty();
    pid = status.pid;
  }
  document.body.classList.remove("old");
  document.title = `${status.name} · ${status.state}`;
  set(find("name"), status.name);
  set(find("state"), status.state);
  find("state").dataset.state = status.ready < status.target && status.state === "serving" ? "degraded" : status.state;
  const facts = [
    `${status.ready} of ${status.target} workers ready`, `generation ${status.generation}`,
    `up ${format.age(status.uptime)}`, ...status.listeners, `Tercio ${status.version}`,
  ];
  set(find("facts"), facts.join(" · "));
  set(find("target"), `${status.target}`);
  workers.show(status, paces);
  note(status);
  progress(status);
  charts.add(at, {
    rate: traffic?.rate, errors: traffic && traffic.server_errors / traffic.seconds,
    p50: traffic?.p50, p99: traffic?.p99, lag: Math.max(...Object.values(paces).map((pace) => pace.lag), 0),
    connections: traffic?.connections, in_flight: traffic?.in_flight,
    memory: status.workers.reduce((sum, worker) => sum + (worker.memory_bytes ?? 0), 0),
  });
}

// What is so for longer than an event says it.
function note({ notes, breaker }) {
  const held = breaker && `starts are held back after ${breaker.deaths} deaths; the next try is in ${format.age(breaker.next_probe_in)}`;
  const lines = [held, ...notes].filter(Boolean);
  find("notes").hidden = !lines.length;
  if (lines.join() === [...find("notes").children].map((line) => line.textContent).join()) return;
  find("notes").replaceChildren(...lines.map((line) => make("li", line)));
}

function progress({ reload }) {
  find("reload-progress").hidden = !reload;
  if (!reload) return;
  const stage = reload.stage === "trial" ? "on trial" : "starting";
  const waiting = reload.waiting ? " Another reload waits." : "";
  set(find("reload-text"), `Generation ${reload.generation}, ${stage}: ${reload.ready} of ${reload.of} new workers are ready.${waiting}`);
  find("reload-bar").value = reload.stage === "trial" ? 0.8 : (reload.ready / reload.of) * 0.6;
}

const stream = new Stream({
  state: show,
  event(event) {
    happenings.add(event);
    workers.told(event);
  },
  found() {
    find("connection").hidden = true;
  },
  async lost() {
    const asks = await api.needsLogin().catch(() => false);
    const why = asks ? "Log in to see the cluster." : "The connection is lost; this page tries again. What you see may be old.";
    set(find("connection"), why);
    find("connection").hidden = false;
    document.body.classList.toggle("old", !asks);
    if (asks) set(find("state"), "log in");
    return !asks; // to ask again without a login is no use
  },
});

orders.changed = (may, why) => workers.allow(may, why);
orders.loggedIn = () => stream.open();
orders.arm();
stream.open();
