/** Roots that lie in object stores, as folders that follow them. */
import { isStored, messageOf, RecordCopies } from '@visurf/core/records';

/** Milliseconds between looks at what is new in a store. */
const PULL = 10_000;

export interface Copies {
  readonly folders: readonly string[];
  close(): void;
}

/** @throws UserError for a store that cannot be had, or a place in it without a run */
export async function openCopies(roots: readonly string[]): Promise<Copies> {
  const copies: RecordCopies[] = [];
  const folders: string[] = [];
  for (const root of roots) {
    if (isStored(root)) copies.push(await RecordCopies.open(root));
    folders.push(isStored(root) ? copies.at(-1)!.folder : root);
  }
  const closed = new AbortController();
  const timers = copies.map((each) => follow(each, closed.signal));
  return {
    folders,
    close() {
      closed.abort();
      for (const timer of timers) clearInterval(timer);
      for (const each of copies) each.close();
    },
  };
}

/** Pulls again and again; what fails is said once, until it goes again. */
function follow(copies: RecordCopies, closed: AbortSignal): NodeJS.Timeout {
  let [isPulling, isFailing] = [false, false];
  const pull = async (): Promise<void> => {
    if (isPulling) return;
    isPulling = true;
    try {
      await copies.pull();
      isFailing = false;
    } catch (error) {
      if (!isFailing && !closed.aborted) console.error(`warning: ${messageOf(copies.explain(error))}`);
      isFailing = true;
    } finally {
      isPulling = false;
    }
  };
  return setInterval(() => void pull(), PULL);
}
