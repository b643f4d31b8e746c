// CSV by RFC 4180: read, written, and the column of the texts guessed.

const SEPARATORS = [",", ";", "\t", "|"];
const NAMES = ["text", "sentence", "content", "review", "message", "comment", "body", "tweet", "document"];
const LOOKED_AT = 200;

// The rows of a file, as strings, and how its fields are separated. Throws an Error that tells the row.
export function parse(text) {
  const separator = guessedSeparator(text);
  const rows = [];
  let at = 0;
  while (at < text.length) {
    const { row, end } = record(text, at, separator, rows.length + 1);
    if (row !== null) rows.push(row);
    at = end;
  }
  return { separator, rows };
}

// One record from `at` on; a blank line is none.
function record(text, at, separator, number) {
  const row = [];
  const begun = at;
  for (;;) {
    let field;
    if (text[at] === '"') {
      ({ field, at } = quoted(text, at, number));
      if (at < text.length && text[at] !== separator && text[at] !== "\r" && text[at] !== "\n") {
        const told = "a closing quote is followed by text; a quote inside of a field is written twice";
        throw new Error(`Row ${number}: ${told}.`);
      }
    } else {
      const from = at;
      while (at < text.length && text[at] !== separator && text[at] !== "\r" && text[at] !== "\n") at += 1;
      field = text.slice(from, at);
    }
    row.push(field);
    if (text[at] !== separator || at >= text.length) break;
    at += 1;
  }
  const blank = at === begun;
  if (text[at] === "\r") at += 1;
  if (text[at] === "\n") at += 1;
  return { row: blank ? null : row, end: at };
}

function quoted(text, at, number) {
  const parts = [];
  let from = at + 1;
  for (;;) {
    const close = text.indexOf('"', from);
    if (close < 0) throw new Error(`Row ${number}: a quoted field is never closed.`);
    parts.push(text.slice(from, close));
    if (text[close + 1] !== '"') return { field: parts.join('"'), at: close + 1 };
    from = close + 2;
  }
}

// What cuts the first line into most fields; a comma where nothing does.
function guessedSeparator(text) {
  const first = text.trimStart().split(/[\r\n]/, 1)[0].replace(/"[^"]*"/g, "");
  const fields = (separator) => first.split(separator).length;
  return SEPARATORS.reduce((best, one) => (fields(one) > fields(best) ? one : best));
}

// Which column the texts are in: by its name, else the one that is longest.
export function textColumn(names, rows) {
  const known = names.map((name) => name.trim().toLowerCase());
  const named = NAMES.map((name) => known.indexOf(name)).find((place) => place >= 0);
  if (named !== undefined) return named;
  const some = rows.slice(0, LOOKED_AT);
  const length = (place) => some.reduce((sum, row) => sum + (row[place]?.length ?? 0), 0);
  return names.map((_, place) => place).reduce((best, one) => (length(one) > length(best) ? one : best), 0);
}

// One row, with its end.
export function line(cells, separator) {
  const told = cells.map((cell) => field(cell, separator));
  return `${told.length === 1 && told[0] === "" ? '""' : told.join(separator)}\r\n`;
}

function field(cell, separator) {
  const told = cell === null || cell === undefined ? "" : String(cell);
  return told.includes(separator) || /["\r\n]/.test(told) ? `"${told.replaceAll('"', '""')}"` : told;
}
