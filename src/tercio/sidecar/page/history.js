// What the charts show: the newest points of each line, and no more, however long the page is open.

const MOST = 300;

export class History {
  constructor(names) {
    this.at = [];
    this.lines = Object.fromEntries(names.map((name) => [name, []]));
  }

  add(at, values) {
    const newest = this.at.at(-1);
    if (newest !== undefined && at - newest > 5) this.push(at - 0.5, {}); // nobody looked: a gap
    this.push(at, values);
  }

  push(at, values) {
    this.at.push(at);
    for (const [name, line] of Object.entries(this.lines)) line.push(values[name] ?? null);
    if (this.at.length > MOST) {
      this.at.shift();
      for (const line of Object.values(this.lines)) line.shift();
    }
  }

  of(names) {
    return [this.at, ...names.map((name) => this.lines[name])];
  }
}
