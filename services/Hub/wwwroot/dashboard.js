// What Blazor does not do: keep the choice of light or dark, and come back by itself after the server was away.

const retryDelay = 2000;

/** Keeps a choice in a cookie for a year, so that the server's first HTML already follows it. */
export function remember(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=lax`;
}

// Blazor tries to reconnect for a while. When it gives up, or the server no longer knows the page (it was restarted), the page is
// loaded again as soon as the server answers.
const dialog = document.getElementById("components-reconnect-modal");
dialog?.addEventListener("components-reconnect-state-changed", ({ detail }) => {
  if (detail.state === "show" && !dialog.open) dialog.show();
  else if (detail.state === "hide") dialog.close();
  else if (detail.state === "failed" || detail.state === "rejected") reloadOnceServed();
});

async function reloadOnceServed() {
  for (;;) {
    try {
      const answer = await fetch("health/live", { cache: "no-store" });
      if (answer.ok) return location.reload();
    } catch {
      // Not there yet.
    }
    await new Promise((done) => setTimeout(done, retryDelay));
  }
}
