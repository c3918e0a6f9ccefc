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
  const said = JSON.parse(document.body.dataset.words);
  const MOST = Number(log.dataset.most);
  const PART = 200; // lines of one list: what is out of sight is laid out in parts
  const POLL_MS = 3000;

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
    if (paused) pause.textContent = said.go_on_new.replace("%(number)s", count);
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
    found.textContent = words ? (matches === 1 ? said.line : said.lines).replace("%(num)s", matches) : "";
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
    pause.textContent = said.pause;
    following = true;
    draw();
  }
  pause?.addEventListener("click", () => {
    if (paused) return proceed();
    paused = true;
    pause.textContent = said.go_on;
  });

  // What comes.

  async function fetched(query) {
    const answer = await fetch(`${address}/lines?${query}`, { headers: { "HX-Request": "true" } });
    return answer.ok && answer.status === 200 ? answer.text() : null;
  }

  async function poll() {
    const final = over(); // seen before the lines: of a run that is over, all are there
    const html = await fetched(`after=${place}`).catch(() => null);
    const items = html ? parts(html) : [];
    if (items.length) take(html, items.at(-1).dataset.key, items.length);
    if (items.length === MOST) return 0;
    return final && html !== null ? undefined : POLL_MS;
  }

  function hear(event) {
    const html = JSON.parse(event.data);
    take(html, event.lastEventId, html.split("<li ").length - 1);
  }

  function finish() {
    if (pause) pause.hidden = !paused;
    refresh();
  }

  tools.hidden = false;
  earlier.hidden = false;
  log.scrollTop = log.scrollHeight;
  follow({ address: () => over() ? null : `${address}/live?after=${place}`, events: { log: hear }, poll, finish });
})();
