/**
 * XML of annotation tools: elements, attributes, text. No document types and no entities beyond the five of XML and
 * characters by number, so nothing expands and nothing is fetched.
 */
import { UserError } from '../../errors.ts';

export interface Element {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly Element[];
  readonly text: string;
}

interface Open {
  name: string;
  attributes: Map<string, string>;
  children: Element[];
  text: string;
}

const MAX_DEPTH = 64;
const TOKEN =
  /<!--[\s\S]*?-->|<\?[\s\S]*?\?>|<!\[CDATA\[[\s\S]*?\]\]>|<\/[^<>]*>|<[^<>!?/"'][^<>"']*(?:"[^"]*"[^<>"']*|'[^']*'[^<>"']*)*>|[^<]+|</g;
const ATTRIBUTE = /(?<![^\s=/])([^\s=/]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g;
const NAMED: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

/** @throws UserError that says what is wrong; the caller names the file */
export function parseXml(text: string): Element {
  const root: Open = { name: '', attributes: new Map(), children: [], text: '' };
  const open: Open[] = [root];
  for (const [token] of text.matchAll(TOKEN)) {
    const parent = open.at(-1)!;
    if (token.startsWith('<!--') || token.startsWith('<?')) continue;
    if (token.startsWith('<![CDATA[')) parent.text += token.slice(9, -3);
    else if (token.startsWith('</')) closeElement(open, token.slice(2, -1).trim());
    else if (token === '<') throw new UserError('malformed XML, or a document type, which is not read');
    else if (token.startsWith('<')) openElement(open, token);
    else parent.text += decode(token);
  }
  const left = open.at(-1)!;
  if (left !== root) throw new UserError(`malformed XML: <${left.name}> is not closed`);
  if (root.children.length !== 1) throw new UserError('malformed XML: not one element');
  return root.children[0]!;
}

function openElement(open: Open[], token: string): void {
  const isEmpty = token.endsWith('/>');
  const body = token.slice(1, isEmpty ? -2 : -1);
  const name = /^[^\s/]+/.exec(body)?.[0] ?? '';
  const pairs = [...body.slice(name.length).matchAll(ATTRIBUTE)];
  const attributes = new Map(pairs.map(([, key, a, b]): [string, string] => [key!, decode(a ?? b ?? '')]));
  const element = { name, attributes, children: [], text: '' };
  open.at(-1)!.children.push(element);
  if (isEmpty) return;
  if (open.length >= MAX_DEPTH) throw new UserError(`XML of more than ${MAX_DEPTH} levels`);
  open.push(element);
}

function closeElement(open: Open[], name: string): void {
  const last = open.at(-1)!;
  if (open.length === 1 || last.name !== name) throw new UserError(`malformed XML: </${name}> closes nothing`);
  open.pop();
}

const decode = (text: string): string =>
  text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w+));/gi, (whole, decimal?: string, hex?: string, name?: string) => {
    const code = decimal ? Number(decimal) : hex ? parseInt(hex, 16) : undefined;
    if (code !== undefined) return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    const known = NAMED[name ?? ''];
    if (known === undefined) throw new UserError(`the XML entity ${whole} is not read`);
    return known;
  });

export const childrenOf = ({ children }: Element, name: string): Element[] =>
  children.filter((each) => each.name === name);

/** The text at a way of names, each the first of its parent. */
export function textAt(element: Element, ...names: readonly string[]): string | undefined {
  let at: Element | undefined = element;
  for (const name of names) at = at?.children.find((each) => each.name === name);
  return at?.text.trim();
}
