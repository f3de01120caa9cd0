// Keeps in this browser how long each ledger was when it was last shown, and the hash over it. A shorter one, or another one of the same length, is
// told: entries are only ever added, so somebody changed the broker's files. What was kept then stays, so that it is told every time.
const known = (name) => {
  try {
    const found = JSON.parse(localStorage.getItem(name));
    return Number.isSafeInteger(found?.size) && typeof found.root === "string" ? found : null;
  } catch {
    return null;
  }
};

for (const shown of document.querySelectorAll("[data-held]")) {
  const name = `ledger ${shown.dataset.held}`;
  const now = { size: Number(shown.dataset.size), root: shown.dataset.root };
  const before = known(name);
  const shorter = before !== null && now.size < before.size;
  const other = before !== null && now.size === before.size && now.root !== before.root;
  if (shorter || other) {
    shown.querySelector("[data-held-size]").textContent = before.size;
    shown.querySelector("[data-held-shorter]").hidden = !shorter;
    shown.querySelector("[data-held-other]").hidden = !other;
    shown.hidden = false;
    // The line that says how good all is.
    shown.nextElementSibling.hidden = true;
  } else {
    try {
      localStorage.setItem(name, JSON.stringify(now));
    } catch {
      // A browser that keeps nothing tells nothing.
    }
  }
}
