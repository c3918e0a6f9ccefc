// What scripts add to the pages: current relative times, refreshing, keys, copying. The pages work without them.
"use strict";

(() => {
  const base = document.body.dataset.base;
  document.documentElement.classList.add("scripted");

  const words = JSON.parse(document.body.dataset.words);
  const UNITS = [[86400, words.d], [3600, words.h], [60, words.min], [1, words.s]];

  function relative(instant) {
    const seconds = (instant - Date.now()) / 1000;
    const size = seconds > 0 ? Math.ceil(seconds) : -seconds;
    for (const [unit, words_of_unit] of UNITS) {
      if (size >= unit) {
        const time = words_of_unit.replace("%(number)s", Math.floor(size / unit));
        return (seconds > 0 ? words.in : words.ago).replace("%(time)s", time);
      }
    }
    return words.now;
  }

  function tick() {
    for (const element of document.querySelectorAll("time[data-relative]")) {
      const text = relative(Date.parse(element.dateTime));
      if (element.textContent !== text) element.textContent = text;
    }
  }
  setInterval(tick, 1000);

  // Times are in the zone of who looks: a cookie tells the server, which writes the times anew.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const cookie = `targcc_zone=${zone}`;
  if (zone && zone !== document.body.dataset.zone && !document.cookie.includes(cookie)) {
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `${cookie}; path=/; max-age=31536000; samesite=lax${secure}`;
    document.addEventListener("htmx:after:init", function begun(event) {
      if (event.target.id !== "live") return; // before that, nobody would hear
      document.removeEventListener("htmx:after:init", begun);
      refresh();
    });
  }

  function refresh() {
    const live = document.getElementById("live");
    if (live && window.htmx) window.htmx.trigger(live, "every");
  }

  // Do not refresh a hidden page, nor one with an open menu or a text selection.
  function inUse() {
    const active = document.activeElement;
    const typing = active && active.closest("#live") && active.matches("input, select, textarea");
    const chosen = document.querySelector('#live [name="run"]:checked'); // a refresh would clear the selection
    return document.hidden || typing || chosen || String(getSelection()) !== "";
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
    if (!document.hidden) refresh();
  });

  document.addEventListener("click", async (event) => {
    const dismiss = event.target.closest("[data-dismiss]");
    if (dismiss) dismiss.closest(".toast").remove();
    if (event.target.closest("[data-help]")) help.showModal();
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      await navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent);
      copy.textContent = words.copied;
      setTimeout(() => { copy.textContent = words.copy; }, 1500);
    }
  });

  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-choose-all]")) return;
    for (const box of document.querySelectorAll('[name="run"]')) box.checked = event.target.checked;
  });

  // The search box completes the term that is being written; without scripts the browser completes the first one.
  const search = document.querySelector("[data-search][list]");
  const known = search ? [...search.list.options].map((option) => option.value) : [];
  search?.addEventListener("input", () => {
    const [, before, term] = /^(.*\s-?|-?)(\S*)$/s.exec(search.value);
    const fit = known.filter((word) => word.toLowerCase().startsWith(term.toLowerCase()));
    search.list.replaceChildren(...fit.slice(0, 30).map((word) => new Option(word, before + word)));
  });

  const help = document.getElementById("help");
  // The help lists the pages that exist and that the person may see.
  const shortcuts = new Map([...document.querySelectorAll("#help [data-go]")].map((entry) => [entry.dataset.go, entry.dataset.path]));
  let going = false;
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      return palette.open ? palette.close() : openPalette();
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select, textarea")) return;
    if (event.key === "?") return help.showModal();
    if (event.key === "/") {
      const search = document.querySelector("[data-search]");
      if (!search) return location.assign(`${base}/runs`);
      event.preventDefault();
      return search.focus();
    }
    if (going && shortcuts.has(event.key)) location.assign(shortcuts.get(event.key) || "/");
    going = event.key === "g";
  });

  // The palette: pages and jobs by their names, runs by their numbers. The server sends what the person may see, on first use.
  const palette = document.getElementById("palette");
  const query = document.getElementById("palette-input");
  const results = document.getElementById("palette-list");
  const MOST_RESULTS = 12;
  let entries = null;
  let current = 0;

  async function openPalette() {
    palette.showModal();
    query.value = "";
    showResults();
    if (entries !== null) return;
    const response = await fetch(palette.dataset.list, { headers: { Accept: "application/json" } });
    entries = response.ok ? await response.json() : [];
    showResults();
  }

  function matching(text) {
    const number = /^#?(\d{1,18})$/.exec(text);
    const run = number ? [{ text: `${palette.dataset.run} #${number[1]}`, address: `${base}/runs/${number[1]}` }] : [];
    const parts = text.toLowerCase().split(/\s+/);
    const fits = (entry) => parts.every((part) => `${entry.text} ${entry.more ?? ""}`.toLowerCase().includes(part));
    const starts = (entry) => !entry.text.toLowerCase().startsWith(text.toLowerCase());
    const found = (entries ?? []).filter(fits).sort((one, other) => starts(one) - starts(other));
    return [...run, ...found].slice(0, MOST_RESULTS);
  }

  function showResults() {
    const options = matching(query.value.trim()).map((entry, place) => {
      const option = document.createElement("li");
      Object.assign(option, { id: `palette-${place}`, role: "option", dir: "auto", textContent: entry.text });
      option.dataset.address = entry.address;
      return option;
    });
    results.replaceChildren(...options);
    results.hidden = options.length === 0;
    document.getElementById("palette-none").hidden = options.length > 0 || entries === null;
    select(0);
  }

  function select(place) {
    const options = [...results.children];
    current = options.length ? (place + options.length) % options.length : 0;
    options.forEach((option, number) => option.setAttribute("aria-selected", String(number === current)));
    if (options.length) query.setAttribute("aria-activedescendant", options[current].id);
    else query.removeAttribute("aria-activedescendant");
    options[current]?.scrollIntoView({ block: "nearest" });
  }

  query?.addEventListener("input", showResults);
  query?.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      select(current + step);
    } else if (event.key === "Enter") {
      event.preventDefault();
      follow(results.children[current]);
    }
  });
  results?.addEventListener("click", (event) => follow(event.target.closest("[data-address]")));

  function follow(option) {
    if (option) location.assign(option.dataset.address);
  }

  // The current place in the middle of a navigation that is wider than the screen.
  document.querySelector(".bar nav [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

  function reveal() {
    for (const element of document.querySelectorAll("[data-help]")) element.hidden = false;
    for (const link of document.querySelectorAll("a[data-zone]")) {
      if (!zone || link.dataset.zone === zone) continue;
      const there = new URL(location.href);
      there.searchParams.set("zone", zone);
      link.href = there;
      link.textContent = words.show_in.replace("%(zone)s", zone);
      link.hidden = false;
    }
    if (!navigator.clipboard) return;
    for (const element of document.querySelectorAll("[data-copy]")) element.hidden = false;
  }
  reveal();
  if (location.hash) document.getElementById(location.hash.slice(1))?.closest("details")?.setAttribute("open", "");
  document.addEventListener("htmx:after:swap", () => { reveal(); tick(); });

  let toastTimer;
  function fade() {
    clearTimeout(toastTimer);
    toastTimer = setTimeout(() => document.querySelector(".toast.good")?.remove(), 8000);
  }
  fade();
  document.addEventListener("htmx:after:swap", () => { if (document.querySelector(".toast.good")) fade(); });
})();
