// Orders to the cluster. A session is a cookie, which this page cannot read, and a word against
// forged requests, which it keeps for this tab.

const KEPT = "tercio-session";

export class Api {
  constructor() {
    this.session = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  }

  get scope() {
    return this.session?.scope ?? "";
  }

  mayOperate() {
    return this.scope === "operate" || this.scope === "admin";
  }

  async logIn(token) {
    this.keep(await this.post("login", { token }));
  }

  async logOut() {
    try {
      await this.post("logout", {});
    } finally {
      this.keep(null);
    }
  }

  async dump(slot) {
    return this.answer(await fetch(`/api/v1/workers/${slot}/dump`));
  }

  async post(what, body) {
    const headers = { "content-type": "application/json" };
    if (this.session) headers["x-tercio-csrf"] = this.session.csrf;
    const sent = { method: "POST", headers, body: JSON.stringify(body) };
    return this.answer(await fetch(`/api/v1/${what}`, sent));
  }

  async needsLogin() {
    const answer = await fetch("/api/v1/config", { signal: AbortSignal.timeout(3000) });
    return answer.status === 401;
  }

  async answer(response) {
    const value = await response.json().catch(() => ({}));
    if (response.ok) return value;
    if (response.status === 401 && this.session) this.keep(null);
    throw new Error(value.error ?? `the answer was ${response.status}`);
  }

  keep(session) {
    this.session = session;
    if (session) sessionStorage.setItem(KEPT, JSON.stringify(session));
    else sessionStorage.removeItem(KEPT);
  }
}
