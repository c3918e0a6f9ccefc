// What scripts add to the pages: current relative times, refreshing, keys, copying. The pages work without them.
"use strict";

(() => {
  const base = document.body.dataset.base;
  document.documentElement.classList.add("scripted");

  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  function relative(instant) {
    const seconds = (instant - Date.now()) / 1000;
    const size = seconds > 0 ? Math.ceil(seconds) : -seconds;
    for (const [unit, name] of UNITS) {
      if (size >= unit) {
        const text = `${Math.floor(size / unit)} ${name}`;
        return seconds > 0 ? `in ${text}` : `${text} ago`;
      }
    }
    return "now";
  }

  function tick() {
    for (const element of document.querySelectorAll("time[data-relative]")) {
      const text = relative(Date.parse(element.dateTime));
      if (element.textContent !== text) element.textContent = text;
    }
  }
  setInterval(tick, 1000);

  // Do not refresh a hidden page, nor one with an open menu or a text selection.
  function inUse() {
    const active = document.activeElement;
    const typing = active && active.closest("#live") && active.matches("input, select, textarea");
    return document.hidden || typing || String(getSelection()) !== "";
  }

  function isRefresh(event) {
    const source = event.detail?.ctx?.sourceElement;
    return source?.id === "live" && event.detail.ctx.request?.method === "GET";
  }
  document.addEventListener("htmx:before:request", (event) => {
    if (isRefresh(event) && inUse()) event.preventDefault();
  });

  const offline = document.getElementById("offline");
  let seen = new Date();
  document.addEventListener("htmx:after:request", (event) => {
    const status = event.detail?.ctx?.response?.status ?? 0;
    if (status === 0 || status >= 500) return lost();
    seen = new Date();
    offline.hidden = true;
  });
  document.addEventListener("htmx:error", lost);

  function lost() {
    document.getElementById("offline-since").textContent = seen.toLocaleTimeString();
    offline.hidden = false;
  }

  document.addEventListener("visibilitychange", () => {
    const live = document.getElementById("live");
    if (!document.hidden && live && window.htmx) window.htmx.trigger(live, "every");
  });

  document.addEventListener("click", async (event) => {
    const dismiss = event.target.closest("[data-dismiss]");
    if (dismiss) dismiss.closest(".toast").remove();
    if (event.target.closest("[data-help]")) help.showModal();
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      await navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent);
      copy.textContent = "Copied";
      setTimeout(() => { copy.textContent = "Copy"; }, 1500);
    }
  });

  // The search box completes the term that is being written; without scripts the browser completes the first one.
  const search = document.querySelector("[data-search][list]");
  const words = search ? [...search.list.options].map((option) => option.value) : [];
  search?.addEventListener("input", () => {
    const [, before, term] = /^(.*\s-?|-?)(\S*)$/s.exec(search.value);
    const fit = words.filter((word) => word.toLowerCase().startsWith(term.toLowerCase()));
    search.list.replaceChildren(...fit.slice(0, 30).map((word) => new Option(word, before + word)));
  });

  const help = document.getElementById("help");
  const pages = { o: "", j: "/jobs", r: "/runs", i: "/inbox", c: "/calendar", t: "/timeline", s: "/system", a: "/audit" };
  let going = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select, textarea")) return;
    if (event.key === "?") return help.showModal();
    if (event.key === "/") {
      const search = document.querySelector("[data-search]");
      if (!search) return location.assign(`${base}/runs`);
      event.preventDefault();
      return search.focus();
    }
    if (going && event.key in pages) location.assign(base + pages[event.key]);
    going = event.key === "g";
  });

  function reveal() {
    for (const element of document.querySelectorAll("[data-help]")) element.hidden = false;
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    for (const link of document.querySelectorAll("[data-zone]")) {
      if (!zone || link.dataset.zone === zone) continue;
      const there = new URL(location.href);
      there.searchParams.set("zone", zone);
      link.href = there;
      link.textContent = `Show in ${zone}`;
      link.hidden = false;
    }
    if (!navigator.clipboard) return;
    for (const element of document.querySelectorAll("[data-copy]")) element.hidden = false;
  }
  reveal();
  if (location.hash === "#run") document.getElementById("run")?.setAttribute("open", "");
  document.addEventListener("htmx:after:swap", () => { reveal(); tick(); });

  let toastTimer;
  function fade() {
    clearTimeout(toastTimer);
    toastTimer = setTimeout(() => document.querySelector(".toast.good")?.remove(), 8000);
  }
  fade();
  document.addEventListener("htmx:after:swap", () => { if (document.querySelector(".toast.good")) fade(); });
})();
