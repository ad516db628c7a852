// The state each second and what happens, with a new try whenever the connection is lost.

const WAIT = 2000; // milliseconds

export class Stream {
  constructor({ state, event, lost, found }) {
    Object.assign(this, { state, event, lost, found });
    this.newest = 0;
  }

  open() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = new EventSource(`/api/v1/stream?since=${this.newest}`);
    this.source.addEventListener("open", () => this.found());
    this.source.addEventListener("state", (message) => this.state(JSON.parse(message.data)));
    this.source.addEventListener("event", (message) => this.told(JSON.parse(message.data)));
    this.source.addEventListener("end", () => this.again());
    this.source.addEventListener("error", () => this.again());
  }

  told(event) {
    if (event.sequence < this.newest) this.newest = 0;
    this.newest = event.sequence;
    this.event(event);
  }

  again() {
    this.source.close();
    this.lost();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), WAIT);
  }
}
