// Many texts without a page: what is to be answered, the requests for it, and the file that comes of it.

import { ask, Refused } from "./ask.js";
import { plural } from "./bars.js";
import { line, parse, textColumn } from "./csv.js";

const REQUEST_TEXTS = 64;
const REQUEST_CHARACTERS = 100_000;
const AT_ONCE = 2;
const MOST_BYTES = 200_000_000;
const PARTED = new Set([400, 413, 422, 424, 500, 504]); // one text may be at fault, or there are too many

// What is to be answered: lines, or a table and which of its columns is the text.
export class Source {
  constructor(name, rows, separator = ",", mark = "") {
    Object.assign(this, { name, all: rows, separator, mark, column: 0, named: rows.length > 1 });
    this.column = textColumn(this.names, this.rows);
  }

  static lines(text) {
    const every = text.replace(/\r?\n$/, "").split(/\r?\n/);
    const source = new Source("texts.txt", text === "" ? [] : every.map((one) => [one]));
    source.named = false;
    source.lines = true;
    return source;
  }

  get width() {
    return this.all[0]?.length ?? 0;
  }

  get names() {
    if (this.lines) return ["text"];
    return this.named ? this.all[0] : Array.from({ length: this.width }, (_, i) => `column_${i + 1}`);
  }

  get rows() {
    return this.named ? this.all.slice(1) : this.all;
  }
}

// One pass over a source with one model. `answers` has a place for each row: cells, or why there are none.
export class Run {
  constructor(source, model, everyScore) {
    Object.assign(this, { source, model, everyScore, done: 0, failed: 0, cut: 0, tokens: 0 });
    this.rows = source.rows;
    this.answers = new Array(this.rows.length);
    this.counts = new Map(Object.keys(model.heads).map((name) => [name, new Map()]));
    this.digests = new Set();
    this.rows.forEach((row, place) => {
      if (row.length === source.width) return;
      this.fail(place, `the row has ${plural(row.length, "field")}, and ${source.width} are wanted`);
    });
  }

  get isWhole() {
    return this.done === this.rows.length;
  }

  fail(place, why) {
    this.answers[place] = { error: why };
    this.done += 1;
    this.failed += 1;
  }

  // Answer what has none yet. Throws what ended it: an abort, or a refusal that no other text would escape.
  async go(signal, progressed) {
    const chunks = this.#chunks();
    const inner = new AbortController();
    const stop = () => inner.abort();
    signal.addEventListener("abort", stop, { once: true });
    const worker = async () => {
      for (const places of chunks) {
        await this.#answer(places, inner.signal, progressed);
        if (inner.signal.aborted) throw new DOMException("cancelled", "AbortError");
      }
    };
    const working = Array.from({ length: AT_ONCE }, worker);
    try {
      await Promise.all(working);
    } catch (error) {
      stop();
      await Promise.allSettled(working);
      throw error;
    }
  }

  *#chunks() {
    let places = [];
    let characters = 0;
    for (let place = 0; place < this.rows.length; place += 1) {
      if (this.answers[place]) continue;
      const more = this.rows[place][this.source.column].length;
      if (places.length === REQUEST_TEXTS || (places.length && characters + more > REQUEST_CHARACTERS)) {
        yield places;
        [places, characters] = [[], 0];
      }
      places.push(place);
      characters += more;
    }
    if (places.length) yield places;
  }

  async #answer(places, signal, progressed) {
    const texts = places.map((place) => this.rows[place][this.source.column]);
    const body = { texts, model: this.model.name, ...(this.everyScore ? {} : { top_k: 1 }) };
    try {
      const { answer } = await ask("classify", { body, signal, busy: progressed });
      places.forEach((place, i) => this.#take(place, answer.answers[i]));
      this.tokens += answer.usage.tokens;
    } catch (error) {
      if (!(error instanceof Refused) || !PARTED.has(error.status)) throw error;
      if (places.length === 1) this.fail(places[0], error.message);
      else {
        const half = places.length >> 1;
        await this.#answer(places.slice(0, half), signal, progressed);
        await this.#answer(places.slice(half), signal, progressed);
      }
    }
    progressed("");
  }

  #take(place, answer) {
    if (answer.error) {
      this.fail(place, answer.error.message);
      return;
    }
    this.digests.add(answer.model.digest);
    this.answers[place] = { heads: answer.predictions, truncated: answer.truncated };
    this.done += 1;
    this.cut += answer.truncated;
    for (const [head, one] of Object.entries(answer.predictions)) {
      const counts = this.counts.get(head);
      for (const label of one.labels ?? [one.label]) {
        if (label !== null) counts?.set(label, (counts.get(label) ?? 0) + 1);
      }
    }
  }

  // The file's rows with the answers beside them, as parts of a file.
  *parts() {
    const { source, model } = this;
    const added = ["truncated", "error"];
    for (const [name, head] of Object.entries(model.heads).reverse()) {
      const scores = this.everyScore ? head.labels.map((label) => `${name}_score_${label}`) : [];
      added.unshift(name, `${name}_score`, ...scores);
    }
    const names = [...source.names];
    for (let name of added) {
      while (names.includes(name)) name += "_2";
      names.push(name);
    }
    yield source.mark + line(names, source.separator);
    for (const [place, row] of this.rows.entries()) {
      const own = Array.from({ length: source.width }, (_, i) => row[i]);
      if (this.answers[place]) yield line([...own, ...this.#cells(this.answers[place])], source.separator);
    }
  }

  #cells(answer) {
    const cells = Object.entries(this.model.heads).flatMap(([name, { labels }]) => {
      const one = answer.heads?.[name];
      const scores = this.everyScore ? labels.map((label) => one?.scores[label]) : [];
      return [one?.labels ? joined(one.labels, labels) : one?.label, one?.score, ...scores];
    });
    return [...cells, answer.truncated, answer.error];
  }

  get fileName() {
    const stem = this.source.name.replace(/\.\w+$/, "");
    return `${stem}.answers${this.isWhole ? "" : ".partial"}.csv`;
  }
}

// By a comma, unless one of the head's labels holds one.
function joined(held, labels) {
  return held.join([",", "|", ";"].find((mark) => !labels.some((label) => label.includes(mark))) ?? "\n");
}

// A file as a source. Throws an Error that says what is wrong with it.
export async function readFile(file) {
  if (file.size > MOST_BYTES) throw new Error("The file is too large for a page: use tonewise classify.");
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error("The file is not UTF-8. Save it as CSV UTF-8 and drop it again.");
  }
  if (/\.(txt|text)$/i.test(file.name)) return Object.assign(Source.lines(text), { name: file.name });
  const { rows, separator } = parse(text);
  if (rows.length === 0) throw new Error("There are no rows in the file.");
  const marked = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  return new Source(file.name, rows, separator, marked ? "\ufeff" : "");
}
