// Requests to the server: the key, refusals, and when to come again.

const KEY = "tonewise-key";
const TRIES = 5;

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// Kept for this tab alone; gone when it is closed.
export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (secret) => sessionStorage.setItem(KEY, secret),
  forget: () => sessionStorage.removeItem(KEY),
};

// Ask until there is an answer or a refusal for good. `busy(words)` is told of each wait.
export async function ask(path, { body, signal, busy = () => {} } = {}) {
  for (let tries = 1; ; tries += 1) {
    const reply = await send(path, body, signal).catch((error) => {
      if (error.name === "AbortError") throw error;
      return null;
    });
    if (reply?.ok) return { answer: await read(reply), headers: reply.headers };
    const full = reply?.status === 429;
    const mending = reply === null || reply.status === 503;
    if (!full && !(mending && tries < TRIES)) throw await refusal(reply);
    const told = Number(reply?.headers.get("retry-after"));
    const seconds = told > 0 ? told : Math.min(2 ** (tries - 1), 8);
    const why = full ? "is busy" : "does not answer";
    busy(`The server ${why}. Asking again in ${seconds} s.`);
    await pause(seconds, signal);
  }
}

function send(path, body, signal) {
  const headers = {};
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  if (body === undefined) return fetch(path, { headers, signal });
  headers["content-type"] = "application/json";
  return fetch(path, { method: "POST", headers, signal, body: JSON.stringify(body) });
}

async function read(reply) {
  try {
    return await reply.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(reply.status, "The answer did not arrive whole.");
  }
}

async function refusal(reply) {
  if (reply === null) return new Refused(0, "The server cannot be reached.");
  const told = await reply.json().catch(() => null);
  return new Refused(reply.status, told?.error?.message ?? `The server answered ${reply.status}.`);
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const left = () => {
      clearTimeout(timer);
      reject(new DOMException("no longer wanted", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", left);
      resolve();
    }, seconds * 1000);
    if (signal?.aborted) left();
    signal?.addEventListener("abort", left, { once: true });
  });
}

// `server-timing` as milliseconds of each stage.
export function stages(headers) {
  const found = (headers.get("server-timing") ?? "").matchAll(/([\w-]+);dur=([\d.]+)/g);
  return Object.fromEntries([...found].map(([, stage, took]) => [stage, Number(took)]));
}
