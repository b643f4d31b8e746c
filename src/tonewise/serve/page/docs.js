// The routes as a page, from the OpenAPI document.

import { ask } from "./ask.js";
import { make } from "./bars.js";

const DIALECTS = {
  tonewise: "Tonewise",
  tei: "Text Embeddings Inference",
  openai: "OpenAI",
  huggingface: "Hugging Face",
};
const TEXTS = ["I am so happy today", "It rained all week"];
const NOTE = /^\s*(\w+)\s{2,}(\S.*)$/; // how a schema's description tells of a field

const $ = (id) => document.getElementById(id);
const schemas = {};

// Words in which `this` is code.
function rich(words) {
  return words.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
}

const nameOf = (reference) => reference.split("/").at(-1);

// A schema in a few words.
function kind(schema) {
  if (schema.$ref) return nameOf(schema.$ref);
  if (schema.anyOf) return schema.anyOf.map(kind).join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
  if (schema.type === "array") return schema.items ? `list of ${kind(schema.items).replace(" or ", " / ")}` : "list";
  return { object: "object", integer: "whole number", boolean: "true or false" }[schema.type] ?? schema.type ?? "any";
}

// The named schemas inside of one, each once, outermost first.
function named(schema, found = new Set()) {
  if (schema.$ref && !found.has(nameOf(schema.$ref))) {
    found.add(nameOf(schema.$ref));
    named(schemas[nameOf(schema.$ref)], found);
  }
  const inside = [...(schema.anyOf ?? []), ...Object.values(schema.properties ?? {})];
  if (schema.items) inside.push(schema.items);
  for (const one of inside) named(one, found);
  return found;
}

function described(schema) {
  const notes = {};
  const words = [];
  for (const row of (schema.description ?? "").split("\n")) {
    const note = row.match(NOTE);
    if (note && note[1] in (schema.properties ?? {})) notes[note[1]] = note[2];
    else if (row.trim()) words.push(row.trim());
  }
  return { notes, words: words.join(" ") };
}

// A table of a schema's fields.
function fields(name) {
  const schema = schemas[name];
  const { notes, words } = described(schema);
  const rows = Object.entries(schema.properties ?? {}).map(([field, of]) => {
    const wanted = schema.required?.includes(field);
    const note = notes[field] ?? "";
    const tells = (of.default ?? null) !== null && !note.includes("default");
    const unless = tells ? `default: ${JSON.stringify(of.default)}` : "";
    const told = make("td", {}, ...rich([note, unless].filter(Boolean).join("; ")));
    const type = make("td", {}, kind(of).replace(/ or null$/, ""), wanted ? "" : " (may be left out)");
    return make("tr", {}, make("th", { scope: "row" }, make("code", {}, field)), type, told);
  });
  const caption = make("caption", {}, make("strong", {}, name), " ", ...rich(words));
  const table = make("table", {}, caption, make("tbody", {}, ...rows));
  return make("div", { class: "wide", role: "region", "aria-label": name, tabindex: "0" }, table);
}

function shape(title, schema) {
  const words = kind(schema).replace(/ or null$/, "");
  const tables = [...named(schema)].map(fields);
  return schema.$ref ? tables : [make("p", {}, `${title}: ${words}`), ...tables];
}

// A value that a schema takes, for an example.
function sample(schema, text = 0) {
  if (schema.$ref) return sample(schemas[nameOf(schema.$ref)], text);
  if (schema.anyOf) return sample(schema.anyOf[0], text);
  if (schema.enum) return schema.enum[0];
  if (schema.type === "array") return TEXTS.map((_, i) => sample(schema.items, i));
  if (schema.type === "object") {
    const wanted = (schema.required ?? []).map((name) => [name, sample(schema.properties[name], text)]);
    return Object.fromEntries(wanted);
  }
  return { integer: 1, number: 1, boolean: true }[schema.type] ?? TEXTS[text];
}

const quoted = (words) => `'${words.replaceAll("'", "'\\''")}'`;

function curl(method, path, operation, model) {
  const values = { name: path.startsWith("/v1/") ? model.name : model.id, task: "text-classification" };
  const whole = path.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? name);
  const parts = [`curl ${new URL(`.${whole}`, document.baseURI).href}`];
  const schema = operation.requestBody?.required && operation.requestBody.content["application/json"].schema;
  if (schema) {
    const body = sample(schema);
    if ("model" in body) body.model = model.name;
    parts.push("-H 'content-type: application/json'", `-d ${quoted(JSON.stringify(body))}`);
  } else if (method === "post") parts[0] = parts[0].replace("curl", "curl -X POST");
  return parts.join(" \\\n  ");
}

function route(method, path, operation, model) {
  const title = make("h3", {}, make("span", { class: "method" }, method.toUpperCase()), make("code", {}, path));
  const call = make("pre", { tabindex: "0", role: "region", "aria-label": "Example" });
  call.append(make("code", {}, curl(method, path, operation, model)));
  const parts = [title, make("p", {}, ...rich(operation.summary)), call];
  const asks = operation.requestBody?.content["application/json"].schema;
  const answers = operation.responses["200"].content?.["application/json"].schema;
  const drawer = (name, ...inside) => make("details", {}, make("summary", {}, name), ...inside);
  if (asks) parts.push(drawer("Request", ...shape("Body", asks)));
  if (answers) parts.push(drawer("Answer", ...shape("JSON", answers)));
  const statuses = Object.entries(operation.responses).map(([status, { description }]) =>
    make("li", {}, make("code", {}, status), " ", ...rich(description)),
  );
  parts.push(drawer("Statuses", make("ul", { class: "statuses", role: "list" }, ...statuses)));
  return make("section", { class: "panel route", id: operation.operationId }, ...parts);
}

function dialect(name, routes, model) {
  const title = DIALECTS[name] ?? name;
  const links = routes.map(([method, path, operation]) =>
    make("li", {}, make("a", { href: `#${operation.operationId}` }, `${method.toUpperCase()} ${path}`)),
  );
  $("contents").append(make("h2", {}, title), make("ul", { role: "list" }, ...links));
  const sections = routes.map(([method, path, operation]) => route(method, path, operation, model));
  $("routes").append(make("section", { class: "dialect" }, make("h2", {}, title), ...sections));
}

// The model that answers where none is named; where a key is wanted, its name is not told.
async function servedModel() {
  const unknown = { name: "MODEL", id: "MODEL" };
  const found = await ask("v1/models").catch(() => null);
  return found?.answer.data.find((model) => model.default) ?? unknown;
}

async function draw() {
  const [{ answer: told }, model] = await Promise.all([ask("openapi.json"), servedModel()]);
  Object.assign(schemas, told.components.schemas);
  $("told").textContent = told.info.description;
  const groups = new Map(Object.keys(DIALECTS).map((name) => [name, []]));
  for (const [path, methods] of Object.entries(told.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const [name] = operation.tags;
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push([method, path, operation]);
    }
  }
  for (const [name, routes] of groups) {
    const plain = ([, , operation]) => Number(!operation.responses["200"].content); // what is read by machines
    routes.sort((a, b) => plain(a) - plain(b));
    if (routes.length) dialect(name, routes, model);
  }
  if (location.hash) $(location.hash.slice(1))?.scrollIntoView();
}

draw().catch((error) => {
  $("told").textContent = error.message;
});
