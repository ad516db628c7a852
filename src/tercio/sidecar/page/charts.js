// Cards with a number in words and its last minutes as a line.

import { make, set } from "./elements.js";
import { History } from "./history.js";
import * as format from "./format.js";

const CARDS = [
  { title: "Requests", unit: " /s", lines: [["rate", ""], ["errors", "errors"]], show: format.count },
  { title: "Latency", lines: [["p50", "p50"], ["p99", "p99"]], show: format.seconds },
  { title: "Loop lag", lines: [["lag", "worst"]], show: format.seconds },
  { title: "Connections", lines: [["connections", "open"], ["in_flight", "in flight"]], show: format.count },
  { title: "Memory", lines: [["memory", "workers"]], show: format.bytes },
];
const HEIGHT = 84;

export class Charts {
  constructor(root) {
    this.history = new History(CARDS.flatMap((card) => card.lines.map(([name]) => name)));
    this.cards = CARDS.map((card) => new Card(root, card));
    const colors = matchMedia("(prefers-color-scheme: dark)");
    colors.addEventListener("change", () => this.cards.forEach((card) => card.rebuild(this.history)));
    new ResizeObserver(() => this.cards.forEach((card) => card.resize())).observe(root);
    document.addEventListener("visibilitychange", () => this.draw());
  }

  add(at, values) {
    this.history.add(at, values);
    for (const card of this.cards) card.say(values);
    this.draw();
  }

  draw() {
    if (document.hidden) return;
    for (const card of this.cards) card.draw(this.history);
  }
}

class Card {
  constructor(root, card) {
    this.card = card;
    this.names = card.lines.map(([name]) => name);
    const element = make("article", "", "card");
    element.append(make("h2", card.title));
    this.values = card.lines.map(([, label], index) => {
      const line = make("p", "", index ? "value second" : "value");
      const mark = make("span", "", `mark line-${index + 1}`);
      mark.setAttribute("aria-hidden", "true");
      const value = make("strong", "–");
      line.append(mark, value, label ? make("span", ` ${label}`, "quiet") : "");
      element.append(line);
      return value;
    });
    this.plot = make("div", "", "plot");
    this.plot.setAttribute("aria-hidden", "true"); // the numbers above say it in words
    element.append(this.plot);
    root.append(element);
    this.build([[], ...this.names.map(() => [])]);
  }

  build(data) {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: color("--quiet"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
    this.uplot = new window.uPlot({
      width: this.width(),
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      padding: [6, 0, 2, 0],
      scales: { y: { range: (_, least, most) => [0, most > 0 ? most * 1.1 : 1] } },
      axes: [
        { ...axis, show: false },
        { ...axis, size: 52, font: "11px system-ui", splits: (u) => [0, u.scales.y.max / 2], values: (_, ticks) => ticks.map((tick) => (tick ? this.card.show(tick) : "")) },
      ],
      series: [{}, ...this.names.map((_, index) => ({
        stroke: color(`--line-${index + 1}`), width: 1.5, points: { show: false }, spanGaps: false,
        fill: index ? undefined : color("--fill"),
      }))],
    }, data, this.plot);
  }

  rebuild(history) {
    this.uplot.destroy();
    this.build(history.of(this.names));
  }

  width() {
    return Math.max(120, this.plot.clientWidth);
  }

  resize() {
    if (this.uplot.width !== this.width()) this.uplot.setSize({ width: this.width(), height: HEIGHT });
  }

  say(values) {
    this.names.forEach((name, index) => {
      const value = values[name];
      set(this.values[index], this.card.show(value) + (value != null && !index ? this.card.unit ?? "" : ""));
    });
  }

  draw(history) {
    this.uplot.setData(history.of(this.names));
  }
}
