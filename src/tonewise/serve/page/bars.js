// What a head says of one text, as bars, and the small parts that the page is made of.

const FEW = 6;

// An element with its attributes and what is inside of it; text is only ever text.
export function make(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}

export const percent = (share) => `${(share * 100).toFixed(1)}%`;
export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

// What a head answered, in a few words.
export function told(answer) {
  if (answer.abstained) return "not sure enough to say";
  if (answer.labels) return answer.labels.join(", ") || "none of them";
  return answer.label ?? answer.score.toPrecision(4);
}

// Long names of labels are parted at their underscores.
const breakable = (label) => label.split(/(?<=_)/).flatMap((part, i) => (i ? [make("wbr"), part] : [part]));

// A list of labels, each with its bar; the same elements are kept, so that bars grow and shrink in place.
export class Bars {
  constructor() {
    this.element = make("ul", { class: "bars", role: "list" });
    this.rows = new Map();
  }

  // rows: [label, share of 1, number in words, whether it holds], in the order of the list
  show(rows) {
    for (const [label, share, words, holds] of rows) {
      const row = this.rows.get(label) ?? this.#row(label);
      row.item.classList.toggle("holds", holds);
      row.mark.textContent = holds ? "✓" : "";
      row.fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
      row.number.textContent = words;
    }
    const wanted = rows.map(([label]) => this.rows.get(label).item);
    const present = [...this.element.children];
    const same = wanted.length === present.length && wanted.every((item, place) => item === present[place]);
    if (!same) this.element.replaceChildren(...wanted);
  }

  #row(label) {
    const row = {
      mark: make("span", { class: "mark" }),
      fill: make("span", { class: "fill" }),
      number: make("span", { class: "number" }),
    };
    const track = make("span", { class: "track", "aria-hidden": "true" }, row.fill);
    const name = make("span", { class: "name" }, ...breakable(label));
    row.item = make("li", {}, row.mark, name, track, row.number);
    this.rows.set(label, row);
    return row;
  }
}

// A head's card: its name, what it answers, how sure it is, and a bar for each label.
export class Card {
  constructor(name, head) {
    this.labels = head.labels;
    this.several = head.problem_type === "multi_label_classification";
    this.whole = this.labels.length <= FEW;
    this.bars = new Bars();
    this.said = make("p", { class: "said" });
    this.unsure = make("p", { class: "faint" });
    this.more = make("button", { type: "button", class: "quiet", "aria-expanded": "false" });
    this.more.hidden = this.whole;
    this.more.addEventListener("click", () => {
      this.whole = !this.whole;
      this.#draw();
    });
    const kind = this.several ? "several may hold" : "one holds";
    const title = make("h3", {}, name, " ", make("small", {}, kind));
    this.element = make("section", { class: "card", "data-head": name });
    this.element.append(title, this.said, this.bars.element, this.more, this.unsure);
  }

  // Nothing was asked yet: the labels, and no bars.
  clear() {
    this.answer = null;
    this.said.textContent = this.unsure.textContent = "";
    this.#draw();
  }

  show(answer) {
    this.answer = answer;
    this.said.textContent = told(answer);
    this.said.classList.toggle("none", answer.abstained || answer.labels?.length === 0);
    this.#draw();
    const { margin, entropy } = answer;
    const known = typeof margin === "number" && typeof entropy === "number";
    this.unsure.textContent = known ? `margin ${margin.toFixed(2)} · entropy ${entropy.toFixed(2)} nats` : "";
  }

  #draw() {
    const { scores = {}, label = null, labels, abstained = false } = this.answer ?? {};
    const held = new Set(labels ?? [label]);
    const isValue = this.answer !== null && !labels && label === null && !abstained;
    let names = this.answer ? Object.keys(scores) : this.labels;
    if (names.length > FEW) names = names.toSorted((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0));
    if (!this.whole) names = names.filter((name, place) => place < FEW || held.has(name));
    const words = (score) => (isValue ? score.toPrecision(4) : percent(score));
    const row = (name) => [name, scores[name] ?? 0, name in scores ? words(scores[name]) : "", held.has(name)];
    this.bars.show(names.map(row));
    this.more.textContent = this.whole ? `Show the first ${FEW}` : `Show all ${this.labels.length}`;
    this.more.setAttribute("aria-expanded", String(this.whole));
  }
}
