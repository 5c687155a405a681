/** What an answer says in and outside of its tags, while it grows: the thought, and the inside of the answer. */

export interface Heard {
  /** Of `<think>`, or what stood before an answer without being marked. */
  readonly reasoning: string;
  readonly content: string;
}

type Place = 'before' | 'thought' | 'between' | 'answer' | 'plain' | 'after';

/**
 * All parts together are the same, however the text is cut. Text without tags is content: of a model that was trained to
 * write them it is held back until it is sure that none will come.
 */
export class Speech {
  readonly #isTagged: boolean;
  #place: Place = 'before';
  #pending = '';
  #reasoning = '';
  #content = '';

  /** @param isTagged whether the model was trained to answer in tags */
  constructor(isTagged: boolean) {
    this.#isTagged = isTagged;
  }

  push(text: string): Heard {
    this.#pending += text;
    while (this.#step());
    return this.#heard();
  }

  /** What was held back. */
  end(): Heard {
    if (this.#place === 'thought') this.#reasoning += this.#pending;
    else if (this.#place === 'answer' || this.#place === 'plain') this.#content += this.#pending;
    else if (this.#place !== 'after') this.#content += this.#pending.trimStart();
    this.#pending = '';
    return this.#heard();
  }

  #heard(): Heard {
    const heard = { reasoning: this.#reasoning, content: this.#content };
    this.#reasoning = this.#content = '';
    return heard;
  }

  /** @returns whether there may be more to do with what is pending */
  #step(): boolean {
    switch (this.#place) {
      case 'before':
        return this.#open('<think>', 'thought') || this.#begin();
      case 'between':
        return this.#begin();
      case 'thought': {
        const [said, isOver] = this.#until('</think>');
        this.#reasoning += said;
        if (isOver) this.#place = 'between';
        return isOver;
      }
      case 'answer': {
        const [said, isOver] = this.#until('</answer>');
        this.#content += said;
        if (isOver) this.#place = 'after';
        return isOver;
      }
      case 'plain':
        this.#content += this.#pending;
        this.#pending = '';
        return false;
      case 'after':
        this.#pending = '';
        return false;
    }
  }

  #open(tag: string, place: Place): boolean {
    const text = this.#pending.trimStart();
    if (!text.startsWith(tag)) return false;
    this.#pending = text.slice(tag.length);
    this.#place = place;
    return true;
  }

  #begin(): boolean {
    if (this.#open('<answer>', 'answer')) return true;
    const text = this.#pending.trimStart();
    const isUndecided = text === '' || ['<answer>', '<think>'].some((tag) => tag.startsWith(text));
    if (isUndecided) return false;
    if (!this.#isTagged) {
      this.#pending = text;
      this.#place = 'plain';
      return true;
    }
    const at = this.#pending.indexOf('<answer>');
    if (at < 0) return false;
    this.#reasoning += this.#pending.slice(0, at);
    this.#pending = this.#pending.slice(at);
    return true;
  }

  /** What stands before a tag, and whether the tag is there; its beginning at the end of the text is held back. */
  #until(tag: string): [said: string, isOver: boolean] {
    const at = this.#pending.indexOf(tag);
    let end = at;
    if (at < 0) {
      end = this.#pending.length;
      for (let count = Math.min(tag.length - 1, end); count > 0; count--) {
        if (!tag.startsWith(this.#pending.slice(-count))) continue;
        end -= count;
        break;
      }
    }
    const said = this.#pending.slice(0, end);
    this.#pending = this.#pending.slice(at < 0 ? end : at + tag.length);
    return [said, at >= 0];
  }
}

/** The same of a whole text. */
export function heardIn(text: string, isTagged: boolean): Heard {
  const speech = new Speech(isTagged);
  const [first, last] = [speech.push(text), speech.end()];
  return { reasoning: first.reasoning + last.reasoning, content: first.content + last.content };
}
