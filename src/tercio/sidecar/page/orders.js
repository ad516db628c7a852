// Buttons, and the questions before what they do.

import { find, set } from "./elements.js";

export class Orders {
  constructor(api, said) {
    this.api = api;
    this.said = said;
    this.changed = () => {};
    find("reload").addEventListener("click", () => this.order("Load the application anew?", "reload", {}, "the reload has begun"));
    find("recycle-all").addEventListener("click", () => this.order("Replace all workers, one after the other?", "recycle", { slots: "all" }, "all workers are being replaced"));
    find("more").addEventListener("click", () => this.order("", "scale", { to: "+1" }, "one worker more"));
    find("fewer").addEventListener("click", () => this.order("Serve with one worker fewer?", "scale", { to: "-1" }, "one worker fewer"));
    find("login").addEventListener("click", () => this.toggle());
    find("login-form").addEventListener("submit", (event) => this.submit(event));
    for (const button of document.querySelectorAll("[data-close]")) {
      button.addEventListener("click", () => button.closest("dialog").close());
    }
    this.arm();
  }

  recycle(slot) {
    return this.order(`Replace the worker of slot ${slot}?`, "recycle", { slots: [slot] }, `worker ${slot} is being replaced`);
  }

  async dump(slot) {
    try {
      const { text } = await this.api.dump(slot);
      set(find("dump-title"), `What slot ${slot} does`);
      set(find("dump"), text);
      find("dump-dialog").showModal();
    } catch (error) {
      this.failed(error);
    }
  }

  arm() {
    const may = this.api.mayOperate();
    const why = this.api.scope ? "your token may only read" : "log in with a token that may operate";
    for (const id of ["reload", "recycle-all", "more", "fewer"]) {
      find(id).disabled = !may;
      find(id).title = may ? "" : why;
    }
    set(find("login"), this.api.scope ? "Log out" : "Log in");
    this.changed(may, why);
  }

  async order(question, what, body, done) {
    if (question && !(await ask(question))) return;
    try {
      await this.api.post(what, body);
      this.said(done);
    } catch (error) {
      this.failed(error);
    }
  }

  failed(error) {
    this.said(error.message, true);
    this.arm();
  }

  async toggle() {
    if (!this.api.scope) {
      set(find("login-error"), "");
      find("login-dialog").showModal();
      return;
    }
    try {
      await this.api.logOut();
    } catch (error) {
      this.failed(error);
    }
    this.arm();
  }

  async submit(event) {
    event.preventDefault();
    const field = find("token");
    try {
      await this.api.logIn(field.value);
      find("login-dialog").close();
      this.said(`logged in: you may ${this.api.scope}`);
      this.loggedIn?.();
    } catch (error) {
      set(find("login-error"), error.message);
      field.select();
    } finally {
      if (this.api.scope) field.value = "";
    }
    this.arm();
  }
}

function ask(question) {
  const dialog = find("ask-dialog");
  set(find("ask-text"), question);
  dialog.returnValue = "no";
  dialog.showModal();
  find("ask-yes").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
