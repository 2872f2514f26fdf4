// The page's questions go to a worker of this browser, which computes what a server would.
//
// A worker that comes from an address has the policy of that address, which nobody sends here. One that comes out of a
// blob has the page's. It holds one line, which loads the script.

export const GONE = "this browser has ended the computation, perhaps for lack of memory; reload the page";

const script = new URL(`worker.js${window.location.search}`, import.meta.url).href;
const start = URL.createObjectURL(new Blob([`import ${JSON.stringify(script)};`], { type: "text/javascript" }));
const worker = new Worker(start, { type: "module" });
const waiting = new Map(); // id -> how its question ends
let last = 0;
let broken = "";

worker.addEventListener("message", ({ data }) => {
  if (data.progress) {
    window.dispatchEvent(new CustomEvent("progress", { detail: data.progress }));
    return;
  }
  const asked = waiting.get(data.id);
  waiting.delete(data.id);
  asked?.resolve({
    ok: data.status < 400,
    status: data.status,
    json: async () => data.value,
    blob: async () => new Blob([data.value], { type: "application/octet-stream" }),
  });
});

// It did not even start, or an error went past everything that catches them.
worker.addEventListener("error", (event) => {
  broken = event.message || "its script did not load";
  for (const asked of waiting.values()) asked.reject(new Error(broken));
  waiting.clear();
});

export function send(path, { body = null, signal } = {}) {
  return new Promise((resolve, reject) => {
    if (broken) { reject(new Error(broken)); return; }
    const id = (last += 1);
    waiting.set(id, { resolve, reject });
    signal?.addEventListener("abort", () => {
      if (!waiting.delete(id)) return;
      worker.postMessage({ cancel: id });
      reject(new DOMException("aborted", "AbortError"));
    });
    worker.postMessage({ id, path, body });
  });
}
