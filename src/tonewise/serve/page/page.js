// The page: the models, one text as it is typed, and the key where one is wanted.

import { ask, key, Refused, stages } from "./ask.js";
import { Card, make, plural, told } from "./bars.js";
import { Many } from "./many.js";

const TYPING_MS = 120;
const SAYING_MS = 800;

const $ = (id) => document.getElementById(id);
const state = { models: [], model: null, cards: new Map(), latest: null, typing: 0, saying: 0 };

// For those who hear the page. What is typed is answered faster than anyone listens: the last word counts.
function say(words, after = 0) {
  clearTimeout(state.saying);
  state.saying = setTimeout(() => {
    $("said").textContent = words;
  }, after);
}

function notice(words) {
  $("notice").textContent = words;
  $("notice").hidden = words === "";
}

async function loadModels() {
  try {
    const { answer } = await ask("v1/models", { busy: notice });
    state.models = answer.data;
    notice("");
    $("wants-key").hidden = true;
    $("forget").hidden = !key.get();
    chooseFrom(state.models);
  } catch (error) {
    refused(error);
  }
}

function chooseFrom(models) {
  const options = models.map((model) => {
    const embeds = Object.keys(model.heads).length === 0;
    const option = make("option", { value: model.name }, embeds ? `${model.name} (embeds only)` : model.name);
    option.disabled = embeds;
    return option;
  });
  const usable = models.filter((model) => Object.keys(model.heads).length);
  const kept = usable.find((model) => model.name === state.model?.name);
  const chosen = kept ?? usable.find((model) => model.default) ?? usable[0] ?? null;
  $("model").replaceChildren(...options);
  $("model").disabled = usable.length === 0 || many.isBusy;
  if (chosen) $("model").value = chosen.name;
  else notice("None of the models here can classify.");
  choose(chosen);
}

function choose(model) {
  const renamed = model?.name !== state.model?.name;
  const same = model?.digest === state.model?.digest && !renamed;
  state.model = model;
  about(model);
  if (same) return;
  state.cards = new Map(Object.entries(model?.heads ?? {}).map(([name, head]) => [name, new Card(name, head)]));
  $("answers").replaceChildren(...[...state.cards.values()].map((card) => card.element));
  if (renamed) many.changed(); // what an older version answered can still be downloaded
  clear();
  answer();
}

function about(model) {
  if (!model) return;
  const labels = Object.values(model.heads).reduce((sum, head) => sum + head.labels.length, 0);
  const facts = {
    "model-id": model.id,
    licence: model.licence ?? "not stated",
    "data-terms": model.data_terms ?? "not stated",
    digest: model.digest,
    engine: model.engine ? `${model.engine}, ${model.precision}` : "not in memory until it is asked",
    reads: model.max_length ? `up to ${plural(model.max_length, "token")} of a text` : "—",
    heads: `${plural(Object.keys(model.heads).length, "head")}, ${plural(labels, "label")}`,
  };
  for (const [id, words] of Object.entries(facts)) $(id).textContent = words;
}

function clear() {
  for (const card of state.cards.values()) card.clear();
  $("facts").hidden = true;
  $("answers").setAttribute("aria-busy", "false");
}

// The text as it is now; what was asked before is no longer wanted.
async function answer() {
  state.latest?.abort();
  const text = $("text").value;
  if (text.trim() === "" || !state.model) {
    clear();
    if (state.model) notice("");
    return;
  }
  const latest = new AbortController();
  state.latest = latest;
  $("answers").setAttribute("aria-busy", "true");
  const begun = performance.now();
  const body = { texts: [text], model: state.model.name, uncertainty: true };
  try {
    const found = await ask("classify", { body, signal: latest.signal, busy: notice });
    show(found.answer.answers[0], found.headers, performance.now() - begun);
  } catch (error) {
    if (latest.signal.aborted) return;
    clear();
    refused(error);
  }
}

function show(found, headers, took) {
  $("answers").setAttribute("aria-busy", "false");
  if (found.error) {
    clear();
    notice(found.error.message);
    return;
  }
  notice("");
  const { model } = state;
  for (const [name, card] of state.cards) card.show(found.predictions[name]);
  const most = model.max_length ? `the first ${model.max_length} of ` : "a part of ";
  $("tokens").textContent = String(found.n_tokens);
  $("cut").textContent = found.truncated ? `${most}${found.n_tokens} tokens` : "all of it";
  $("cut").classList.toggle("wrong", found.truncated);
  $("latency").textContent = latency(headers);
  $("round").textContent = `${took.toFixed(0)} ms`;
  $("facts").hidden = false;
  const words = Object.entries(found.predictions).map(([name, one]) => `${name}: ${told(one)}`);
  say(`${words.join("; ")}${found.truncated ? "; the text was cut" : ""}`, SAYING_MS);
  // A model is opened when it is first asked, and may be swapped for another version at any time.
  if (!model.engine || model.digest !== found.model.digest) loadModels();
}

function latency(headers) {
  const { total, ...parts } = stages(headers);
  if (headers.get("x-cache") === "hit" || total === undefined) return "answered before";
  return `${total.toFixed(1)} ms (${Object.keys(parts).map((name) => `${name} ${parts[name].toFixed(1)}`).join(", ")})`;
}

function refused(error) {
  if (!(error instanceof Refused)) throw error;
  if (error.status === 401) wantsKey(error);
  else notice(error.message);
}

function wantsKey(error) {
  $("wants-key").hidden = false;
  $("key-told").textContent = key.get() ? `The server says: ${error.message}.` : "This server wants a key.";
  $("forget").hidden = true;
  $("key").focus();
  $("key").select();
}

$("text").addEventListener("input", () => {
  clearTimeout(state.typing);
  state.typing = setTimeout(answer, TYPING_MS);
});
$("model").addEventListener("change", () => {
  choose(state.models.find((model) => model.name === $("model").value));
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const secret = $("key").value.trim();
  if (/[^!-~]/.test(secret)) {
    $("key-told").textContent = "A key has no blanks and no letters but plain ones.";
    return;
  }
  key.set(secret);
  loadModels().then(() => $("wants-key").hidden && [$("key").value = "", $("text").focus()]);
});
$("forget").addEventListener("click", () => {
  key.forget();
  location.reload();
});
for (const button of document.querySelectorAll("#examples button")) {
  button.addEventListener("click", () => {
    $("text").value = button.textContent;
    answer();
  });
}

const many = new Many(() => state.model, wantsKey, say);
loadModels();
