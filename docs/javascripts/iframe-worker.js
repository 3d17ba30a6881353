// The search of the site runs in a worker, which browsers refuse to a page that was opened from the
// disk. There, and nowhere else, a hidden frame does the worker's work: it has a scope of its own,
// in which `postMessage` speaks to the page.
//
// The file's name matters: without one of this name the theme would fetch such a thing elsewhere.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const scope = frame.contentWindow;
      const run = (source) =>
        new Promise((done, failed) => {
          const script = scope.document.createElement("script");
          script.src = source;
          script.onload = done;
          script.onerror = failed;
          scope.document.body.append(script);
        });
      scope.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      scope.importScripts = (...sources) => Promise.all(sources.map(run));
      this.scope = scope;
      this.ready = run(address);
    }

    postMessage(data) {
      this.ready = this.ready.then(() =>
        this.scope.dispatchEvent(new MessageEvent("message", { data })),
      );
    }

    terminate() {
      this.scope.frameElement.remove();
    }
  };
}
