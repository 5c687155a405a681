/** Lines of prose that are short enough to read beside code. */

const WIDTH = 120;

/** Words that begin a block of their own, so that no line of a paragraph may begin with it. */
const BLOCK = /^(?:[-+*]|#+|\d+[.)]|[>|].*)$/;

/** Words, with inline code in one piece where it is no longer than half a line. */
const WORDS = /(?:`[^`]{0,60}`|\S)+/g;

/**
 * Markdown whose paragraphs and items have no line above 120 characters; those that have none stay as they are, and so
 * do code, tables, headings and comments.
 */
export function wrapped(page: string): string {
  const lines = page.split('\n');
  const made: string[] = [];
  let block: string[] = [];
  let isCode = false;
  const flush = (): void => {
    made.push(...(block.some((line) => line.length > WIDTH) ? rewrapped(block) : block));
    block = [];
  };
  for (const line of lines) {
    const isFence = /^\s*(?:```|~~~)/.test(line);
    if (isCode || isFence || /^\s*(?:$|\||#|<)/.test(line) || (block.length === 0 && /^ {4}/.test(line))) {
      flush();
      made.push(line);
    } else {
      if (/^\s*(?:[-+*]|\d+[.)]) /.test(line)) flush();
      block.push(line);
    }
    if (isFence) isCode = !isCode;
  }
  flush();
  return made.join('\n');
}

/** One paragraph or item; what follows the first line of an item is indented as its text is. */
function rewrapped(block: readonly string[]): string[] {
  const [marker = ''] = /^\s*(?:(?:[-+*]|\d+[.)]) +)?/.exec(block[0]!) ?? [];
  const words = block.join('\n').slice(marker.length).match(WORDS) ?? [];
  const made: string[] = [];
  let line = marker;
  let isEmpty = true;
  for (const word of words.map((each) => each.replaceAll(/\s*\n\s*/g, ' '))) {
    if (!isEmpty && line.length + 1 + word.length > WIDTH && !BLOCK.test(word)) {
      made.push(line);
      line = ' '.repeat(marker.length);
      isEmpty = true;
    }
    line += (isEmpty ? '' : ' ') + word;
    isEmpty = false;
  }
  return [...made, line];
}
