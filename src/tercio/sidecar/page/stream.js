// The state each second and what happens, with a new try whenever the connection is lost.

const WAIT = 2000; // milliseconds
const SILENCE = 6000; // a state comes each second: whoever sends none hangs, or is out of reach

export class Stream {
  constructor({ state, event, lost, found }) {
    Object.assign(this, { state, event, lost, found });
    this.newest = 0;
    setInterval(() => this.listen(), 1000);
  }

  open() {
    clearTimeout(this.timer);
    this.source?.close();
    this.heard = Date.now();
    this.source = new EventSource(`/api/v1/stream?since=${this.newest}`);
    this.source.addEventListener("state", (message) => this.shown(JSON.parse(message.data)));
    this.source.addEventListener("event", (message) => this.told(JSON.parse(message.data)));
    this.source.addEventListener("end", () => this.again());
    this.source.addEventListener("error", () => this.again());
  }

  listen() {
    const isOpen = this.source && this.source.readyState !== EventSource.CLOSED;
    if (isOpen && Date.now() - this.heard > SILENCE) this.again();
  }

  shown(state) {
    this.heard = Date.now();
    this.found();
    this.state(state);
  }

  told(event) {
    if (event.sequence < this.newest) this.newest = 0;
    this.newest = event.sequence;
    this.event(event);
  }

  async again() {
    const source = this.source;
    source.close();
    clearTimeout(this.timer);
    const goesOn = await this.lost();
    if (goesOn && this.source === source) this.timer = setTimeout(() => this.open(), WAIT);
  }
}
