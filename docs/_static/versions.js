// List the published versions beside this one, from versions.json of the same site. Without the file nothing changes.
document.addEventListener("DOMContentLoaded", async () => {
  const place = document.getElementById("versions");
  if (!place || location.protocol === "file:") return;
  const answer = await fetch(new URL(place.dataset.root + "versions.json", location.href)).catch(() => null);
  if (!answer || !answer.ok) return;
  const choice = document.createElement("select");
  choice.setAttribute("aria-label", "Version of the manual");
  for (const name of await answer.json()) {
    choice.add(new Option(name, name, false, name === place.dataset.release));
  }
  choice.addEventListener("change", () => {
    location.href = new URL(place.dataset.root + choice.value + "/", location.href);
  });
  place.replaceChildren("Version ", choice);
});
