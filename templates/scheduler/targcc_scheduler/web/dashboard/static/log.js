// The log of a run: what it writes is added as it comes, by server-sent events or, where they do not come through, by asking again.
"use strict";

(() => {
  const log = document.querySelector("[data-log]");
  if (!log) return;
  const tools = document.querySelector("[data-log-tools]");
  const search = tools.querySelector("input");
  const found = tools.querySelector("[data-found]");
  const pause = tools.querySelector("[data-pause]");
  const earlier = document.querySelector("[data-earlier]");
  const address = log.dataset.log;
  const MOST = Number(log.dataset.most);
  const PART = 200; // lines of one list: what is out of sight is laid out in parts
  const REFRESH_MS = 1000, POLL_MS = 3000, PATIENCE_MS = 10000;

  const last = () => log.querySelector("ol:last-child > li:last-child")?.dataset.key ?? "0";
  const over = () => document.querySelector("#live [data-final]") !== null;

  // Lines.

  let place = last();
  let following = true;
  let paused = false;
  let held = []; // HTML that came while it is paused, or since the last frame
  let count = 0;
  let drawing = 0;

  function parts(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    return [...template.content.children];
  }

  function take(html, key, lines) {
    if (!html) return;
    place = key;
    held.push(html);
    count += lines;
    if (paused) pause.textContent = `Continue (${count} new)`;
    else if (!drawing) drawing = requestAnimationFrame(draw);
  }

  function draw() {
    drawing = 0;
    const items = parts(held.join("\n"));
    held = [];
    count = 0;
    document.querySelector("[data-no-lines]").hidden = true;
    let list = log.lastElementChild;
    for (const item of items) {
      if (list.childElementCount >= PART) log.append(list = document.createElement("ol"));
      list.append(item);
    }
    if (words) fits(items);
    if (following) log.scrollTop = log.scrollHeight;
  }

  log.addEventListener("scroll", () => {
    following = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  }, { passive: true });

  async function before() {
    const first = log.querySelector("li")?.dataset.key;
    const html = first ? await fetched(`before=${first}`) : "";
    const items = parts(html ?? "");
    const bottom = log.scrollHeight - log.scrollTop;
    for (let end = items.length; end > 0; end -= PART) {
      const list = document.createElement("ol");
      list.append(...items.slice(Math.max(0, end - PART), end));
      log.prepend(list);
    }
    if (words) fits(items);
    log.scrollTop = log.scrollHeight - bottom;
    const more = items.length === MOST;
    earlier.closest("p").hidden = !more;
    return more;
  }
  earlier.addEventListener("click", before);

  // Search: lines that do not fit are hidden; those of before are fetched first.

  let words = "";
  let matches = 0;
  let timer;
  let searching = 0;

  function fits(items) {
    for (const item of items) {
      const fit = item.textContent.toLowerCase().includes(words);
      item.hidden = !fit;
      if (fit) matches += 1;
    }
    found.textContent = words ? `${matches} ${matches === 1 ? "line" : "lines"}` : "";
  }

  async function look() {
    const mine = ++searching;
    words = search.value.trim().toLowerCase();
    matches = 0;
    fits(log.querySelectorAll("li"));
    while (words && mine === searching && !earlier.closest("p").hidden && await before());
  }
  search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, 150); });
  tools.addEventListener("submit", (event) => event.preventDefault());

  tools.querySelector("[data-wrap]").addEventListener("click", (event) => {
    const wrapped = !log.classList.toggle("unwrapped");
    event.target.setAttribute("aria-pressed", String(wrapped));
  });

  function proceed() {
    paused = false;
    pause.textContent = "Pause";
    following = true;
    draw();
  }
  pause?.addEventListener("click", () => {
    if (paused) return proceed();
    paused = true;
    pause.textContent = "Continue";
  });

  // What comes.

  let refreshing = 0;
  function refresh() {
    if (refreshing) return;
    refreshing = setTimeout(() => {
      refreshing = 0;
      const live = document.getElementById("live");
      if (live && window.htmx) window.htmx.trigger(live, "every");
    }, REFRESH_MS);
  }

  let source = null;
  let polling = 0;

  function listen() {
    if (source || polling || over() || document.hidden) return;
    if (!window.EventSource) return poll();
    source = new EventSource(`${address}/live?after=${place}`);
    const impatient = setTimeout(() => give(poll), PATIENCE_MS); // as when a proxy holds everything back
    source.addEventListener("run", () => { clearTimeout(impatient); refresh(); });
    source.addEventListener("log", (event) => {
      const html = JSON.parse(event.data);
      take(html, event.lastEventId, html.split("<li ").length - 1);
    });
    source.addEventListener("end", () => { clearTimeout(impatient); give(finish); });
    source.addEventListener("error", () => {
      if (source?.readyState !== EventSource.CLOSED) return; // it comes back by itself
      clearTimeout(impatient);
      give(poll);
    });
  }

  function give(next) {
    source?.close();
    source = null;
    next?.();
  }

  function finish() {
    if (pause) pause.hidden = !paused;
    refresh();
  }

  async function fetched(query) {
    const answer = await fetch(`${address}/lines?${query}`, { headers: { "HX-Request": "true" } });
    return answer.ok && answer.status === 200 ? answer.text() : null;
  }

  async function poll() {
    clearTimeout(polling);
    const final = over(); // seen before the lines: of a run that is over, all are there
    let wait = POLL_MS;
    if (!document.hidden) {
      const html = await fetched(`after=${place}`).catch(() => null);
      const items = html ? parts(html) : [];
      if (items.length) take(html, items.at(-1).dataset.key, items.length);
      if (items.length === MOST) wait = 0;
      else if (final && html !== null) return finish();
    }
    polling = setTimeout(poll, wait);
  }

  document.addEventListener("visibilitychange", () => { if (document.hidden) give(); else listen(); });
  document.addEventListener("htmx:after:swap", listen);
  addEventListener("pagehide", () => give());
  addEventListener("pageshow", listen);

  tools.hidden = false;
  earlier.hidden = false;
  log.scrollTop = log.scrollHeight;
  listen();
})();
