// A page of something under way is loaded anew as that changes: it is told by server-sent events or, where they do not come through, asks again.
"use strict";

const { follow, refresh } = (() => {
  const REFRESH_MS = 1000, POLL_MS = 2000, PATIENCE_MS = 10000;

  let refreshing = 0;
  function refresh() {
    if (refreshing) return;
    refreshing = setTimeout(() => {
      refreshing = 0;
      const live = document.getElementById("live");
      if (live && window.htmx) window.htmx.trigger(live, "every");
    }, REFRESH_MS);
  }

  function refreshed(address) {
    if (!address()) return undefined;
    refresh();
    return POLL_MS;
  }

  // address: gives that of the stream, or nothing while there is nothing to follow; events: those that bring something themselves;
  // poll: asks once and gives the milliseconds until it is to ask again, or nothing at the end; finish: what to do when it is over.
  function follow({ address, events = {}, poll = () => refreshed(address), finish = refresh }) {
    let source = null;
    let impatient = 0;
    let polling = false;

    function listen() {
      const stream = address();
      if (source || polling || !stream || document.hidden) return;
      if (!window.EventSource) return ask();
      source = new EventSource(stream);
      impatient = setTimeout(() => give(ask), PATIENCE_MS); // as when a proxy holds everything back
      for (const name of ["run", "batch", "flow"]) {
        source.addEventListener(name, () => { clearTimeout(impatient); refresh(); });
      }
      for (const [name, hear] of Object.entries(events)) source.addEventListener(name, hear);
      source.addEventListener("end", () => give(finish));
      source.addEventListener("error", () => {
        if (source?.readyState === EventSource.CLOSED) give(ask); // else it comes back by itself
      });
    }

    function give(next) {
      clearTimeout(impatient); // that of a stream which is given up must not give up the next one
      source?.close();
      source = null;
      next?.();
    }

    async function ask() {
      polling = true;
      const wait = document.hidden ? POLL_MS : await poll();
      if (wait !== undefined) return setTimeout(ask, wait);
      polling = false;
      finish();
    }

    document.addEventListener("visibilitychange", () => { if (document.hidden) give(); else listen(); });
    document.addEventListener("htmx:after:swap", listen);
    addEventListener("pagehide", () => give());
    addEventListener("pageshow", listen);
    listen();
  }

  if (!document.querySelector("[data-log]")) follow({ address: () => document.querySelector("#live [data-live]")?.dataset.live });
  return { follow, refresh };
})();
