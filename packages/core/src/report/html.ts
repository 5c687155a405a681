/**
 * HTML as a tagged template that escapes whatever it is given: in a report, questions, names and responses come from
 * data and from models, and none of them may become markup.
 */

/** Markup that is safe as it stands. */
export class Html {
  readonly markup: string;

  constructor(markup: string) {
    this.markup = markup;
  }

  toString(): string {
    return this.markup;
  }
}

export type Fragment = Html | string | number | undefined | readonly Fragment[];

/**
 * Strings and numbers are escaped, markup and lists of it are inserted, undefined is nothing.
 * @example html`<p title="${name}">${rows.map((row) => html`<b>${row}</b>`)}</p>`
 */
export function html(parts: TemplateStringsArray, ...values: readonly Fragment[]): Html {
  return new Html(String.raw({ raw: parts }, ...values.map(render)));
}

/** Text of this program's own that needs no escaping: style sheets. */
export const trusted = (markup: string): Html => new Html(markup);

function render(value: Fragment): string {
  if (value === undefined) return '';
  if (value instanceof Html) return value.markup;
  if (typeof value === 'object') return value.map(render).join('');
  return escape(String(value));
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Control characters have no place in HTML; they show as the replacement character. */
function escape(text: string): string {
  return text
    .toWellFormed()
    .replaceAll(/[^\P{Cc}\n\t]/gu, '\ufffd')
    .replaceAll(/[&<>"']/g, (character) => ENTITIES[character]!);
}
