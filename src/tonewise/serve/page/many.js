// Many texts: lines or a CSV in, progress, what came of it, a CSV out.

import { Bars, make, percent, plural, told } from "./bars.js";
import { readFile, Run, Source } from "./run.js";

const SHOWN = 8;

const $ = (id) => document.getElementById(id);

// The part of the page for many texts. `model()` is the one that is chosen; `wantsKey(error)` asks for a key.
export class Many {
  constructor(model, wantsKey, say) {
    Object.assign(this, { model, wantsKey, say, file: null, run: null, stop: null });
    $("lines").addEventListener("input", () => this.changed());
    $("file").addEventListener("change", () => this.open($("file").files[0]));
    $("column").addEventListener("change", () => {
      this.file.column = Number($("column").value);
      this.changed();
    });
    $("named").addEventListener("change", () => {
      this.file.named = $("named").checked;
      this.showFile();
    });
    $("every-score").addEventListener("change", () => this.changed());
    $("away").addEventListener("click", () => {
      this.file = null;
      $("file").value = "";
      this.showFile();
      $("file").focus();
    });
    $("start").addEventListener("click", () => this.start());
    $("cancel").addEventListener("click", () => this.stop?.abort());
    $("download").addEventListener("click", () => this.download());
    this.#dropping();
    addEventListener("beforeunload", (event) => this.stop && event.preventDefault());
    this.changed();
  }

  #dropping() {
    const over = (is) => $("many").classList.toggle("over", is);
    addEventListener("dragover", (event) => {
      event.preventDefault();
      over(event.dataTransfer.types.includes("Files"));
    });
    addEventListener("dragleave", (event) => event.relatedTarget === null && over(false));
    addEventListener("drop", (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      over(false);
      this.open(event.dataTransfer.files[0]);
    });
  }

  get isBusy() {
    return this.stop !== null;
  }

  get source() {
    return this.file ?? Source.lines($("lines").value);
  }

  async open(file) {
    if (!file || this.stop) return;
    try {
      this.file = await readFile(file);
      this.showFile();
    } catch (error) {
      this.file = null;
      this.showFile();
      this.tell(`${file.name}: ${error.message}`, true);
    }
  }

  showFile() {
    const { file } = this;
    $("by-hand").hidden = file !== null;
    $("of-file").hidden = file === null;
    if (file) {
      $("file-name").textContent = file.name;
      $("file-rows").textContent = plural(file.rows.length, "row");
      $("columns").hidden = Boolean(file.lines);
      $("named").checked = file.named;
      const options = file.names.map((name, i) => make("option", { value: i }, name || `column ${i + 1}`));
      $("column").replaceChildren(...options);
      $("column").value = file.column;
    }
    this.changed();
  }

  // What is to be done is another thing now: what was done no longer answers it.
  changed() {
    if (this.stop) return;
    this.run = null;
    const count = this.source.rows.length;
    $("start").disabled = count === 0 || !this.model();
    $("start").classList.add("main");
    $("start").textContent = count ? `Answer ${plural(count, "text")}` : "Answer";
    $("working").hidden = true;
    $("found").hidden = true;
    this.tell("");
  }

  async start() {
    const begun = this.run?.isWhole === false ? this.run : null;
    const run = begun ?? new Run(this.source, this.model(), $("every-score").checked);
    [this.run, this.stop] = [run, new AbortController()];
    this.#busy(true);
    this.tell("");
    this.say(`Answering ${plural(run.rows.length, "text")}.`);
    const progress = this.#progress(run);
    let ended = null;
    try {
      await run.go(this.stop.signal, progress);
    } catch (error) {
      ended = error;
    }
    this.stop = null;
    progress("");
    this.#busy(false);
    this.#end(run, ended);
  }

  #busy(is) {
    for (const id of ["lines", "file", "away", "column", "named", "every-score", "start", "model"]) {
      $(id).disabled = is;
    }
    $("cancel").hidden = !is;
    if (is) {
      $("found").hidden = true;
      $("working").hidden = false;
      $("cancel").focus();
    }
  }

  #progress(run) {
    const [begun, before] = [performance.now(), run.done];
    let quarter = 0;
    return (waiting) => {
      $("progress").max = run.rows.length;
      $("progress").value = run.done;
      const seconds = (performance.now() - begun) / 1000;
      const speed = (run.done - before) / seconds;
      const left = speed > 0 ? Math.ceil((run.rows.length - run.done) / speed) : null;
      const parts = [`${run.done.toLocaleString("en")} of ${plural(run.rows.length, "text")}`];
      if (run.done > before && seconds > 0.5) parts.push(`${Math.round(speed)} a second`);
      if (left > 1 && this.stop) parts.push(`${plural(left, "second")} left`);
      if (run.failed) parts.push(`${run.failed} without an answer`);
      $("pace").textContent = waiting || parts.join(" · ");
      const reached = Math.floor((4 * run.done) / run.rows.length);
      if (reached > quarter && reached < 4) this.say(`${reached * 25}% done.`);
      quarter = reached;
    };
  }

  #end(run, ended) {
    const cancelled = ended?.name === "AbortError";
    const parts = [`${plural(run.done - run.failed, "text")} answered`];
    if (run.failed) parts.push(`${run.failed} without an answer`);
    if (run.cut) parts.push(`${run.cut} cut, being too long`);
    if (run.digests.size > 1) parts.push("the model was changed for another version meanwhile");
    if (cancelled) parts.unshift("Cancelled");
    this.tell(ended && !cancelled ? `${ended.message} ${parts.join(" · ")}.` : `${parts.join(" · ")}.`, ended);
    $("start").textContent = run.isWhole ? "Answer again" : "Go on";
    $("start").classList.toggle("main", run.done === 0);
    if (run.done) this.#show(run);
    if (ended?.status === 401) this.wantsKey(ended);
    else (run.done ? $("download") : $("start")).focus();
  }

  #show(run) {
    $("found").hidden = false;
    $("working").hidden = true;
    $("download").textContent = run.isWhole ? "Download CSV" : "Download what is there";
    const answered = run.done - run.failed;
    const shares = [...run.counts].map(([head, counts]) => {
      const bars = new Bars();
      const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, SHOWN);
      bars.show(most.map(([label, n]) => [label, n / answered, `${n} · ${percent(n / answered)}`, false]));
      return make("section", { class: "card" }, make("h3", {}, head), bars.element);
    });
    $("shares").replaceChildren(...shares);
    this.#table(run);
    const failed = [...run.answers.entries()].filter(([, one]) => one?.error);
    const shown = failed.slice(0, SHOWN).map(([i, one]) => make("li", {}, `Row ${i + 1}: ${one.error}`));
    if (failed.length > SHOWN) shown.push(make("li", {}, `and ${failed.length - SHOWN} more, in the file`));
    $("failed").replaceChildren(...shown);
    $("failed").hidden = failed.length === 0;
  }

  #table(run) {
    const heads = Object.keys(run.model.heads);
    const rows = [...run.answers.entries()].filter(([, one]) => one).slice(0, SHOWN);
    const head = ["row", "text", ...heads].map((name) => make("th", { scope: "col" }, name));
    const body = rows.map(([place, one]) => {
      const text = run.rows[place][run.source.column] ?? "";
      const cells = [String(place + 1), text.length > 160 ? `${text.slice(0, 160)}…` : text];
      const row = make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
      if (one.error) row.append(make("td", { colspan: heads.length, class: "wrong" }, one.error));
      else row.append(...heads.map((name) => make("td", {}, told(one.heads[name]))));
      return row;
    });
    const title = make("caption", {}, `The first ${rows.length} of ${plural(run.rows.length, "row")}`);
    const whole = make("tbody", {}, ...body);
    $("table").replaceChildren(title, make("thead", {}, make("tr", {}, ...head)), whole);
  }

  tell(words, wrong = false) {
    $("outcome").textContent = words;
    $("outcome").classList.toggle("wrong", Boolean(wrong));
    this.say(words);
  }

  download() {
    const file = new Blob([...this.run.parts()], { type: "text/csv" });
    const url = URL.createObjectURL(file);
    make("a", { href: url, download: this.run.fileName }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
}
