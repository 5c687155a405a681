import { useAsked } from '../api.ts';
import { Choice, ModelText, Notice, number } from '../parts/basics.tsx';
import { Picture, Places, type Mark } from '../parts/picture.tsx';
import { amend, useRoute } from '../route.ts';
import type { ComparedAnswer, Run } from '../types.ts';

const SHOWN = 60;

const KINDS = {
  all: 'all answers',
  missed: 'missed: said [], something is there',
  spurious: 'spurious: nothing is there',
  shifted: 'shifted: overlaps too little',
  size: 'wrong size',
  malformed: 'malformed',
  right: 'right',
  better: 'better than before',
  worse: 'worse than before',
} as const;
type Kind = keyof typeof KINDS;

const areaOf = (boxes: ComparedAnswer['boxes']): number =>
  boxes.reduce((sum, [x0, y0, x1, y1]) => sum + Math.max(0, x1 - x0) * Math.max(0, y1 - y0), 0);

/** What is wrong with an answer. */
function kindOf({ evaluation = {}, boxes, sample }: ComparedAnswer): Exclude<Kind, 'all' | 'better' | 'worse'> {
  const { wellFormed, present, saidEmpty, iou, correct } = evaluation;
  if (wellFormed === false) return 'malformed';
  if (typeof correct === 'boolean') return correct ? 'right' : 'shifted';
  if (present === true && saidEmpty === true) return 'missed';
  if (present === false) return saidEmpty === true ? 'right' : 'spurious';
  if (typeof iou === 'number' && iou < 0.5) {
    const ratio = sample && areaOf(sample.boxes) > 0 ? areaOf(boxes) / areaOf(sample.boxes) : 1;
    return iou > 0.1 && (ratio > 1.8 || ratio < 0.55) ? 'size' : 'shifted';
  }
  return 'right';
}

export function Evaluation({ run, version }: { run: Run; version: string }) {
  const { query } = useRoute();
  const steps = run.evaluations;
  const step = Number(query.get('step') ?? steps.at(-1) ?? 0);
  const against = query.get('against') ?? String(steps[0] ?? '');
  const isCompared = against !== '' && Number(against) !== step;
  const { data, error } = useAsked<readonly ComparedAnswer[]>(
    steps.length === 0 ? undefined : `runs/${run.id}/evaluations/${step}${isCompared ? `?against=${against}` : ''}`,
    version,
  );
  const kind = (query.get('kind') ?? 'all') as Kind;
  if (steps.length === 0)
    return (
      <Notice title="Nothing was evaluated yet.">
        A run with data.validation is evaluated every eval.every steps, and at its end.
      </Notice>
    );
  if (error !== undefined) return <Notice title={error} isFault />;
  if (!data) return <Notice title="Reading the answers …" />;
  const isOf = (answer: ComparedAnswer): boolean =>
    kind === 'all' ||
    (kind === 'better' ? answer.change > 0 : kind === 'worse' ? answer.change < 0 : kindOf(answer) === kind);
  const shown = data.filter(isOf);
  const named = Object.fromEntries(steps.map((each) => [String(each), `step ${each}`]));
  const count = (of: Kind): number => data.filter((answer) => kindOf(answer) === of).length;
  return (
    <>
      <div className="tools">
        <Choice
          label="answers of"
          value={String(step)}
          options={named}
          onChange={(value) => {
            amend({ step: value });
          }}
        />
        <Choice
          label="beside"
          value={against}
          options={{ '': 'nothing', ...named }}
          onChange={(value) => {
            amend({ against: value });
          }}
        />
        <Choice<Kind>
          label="show"
          value={kind}
          options={KINDS}
          onChange={(value) => {
            amend({ kind: value });
          }}
        />
        <span role="status">
          {shown.length} of {data.length} answers{shown.length > SHOWN && `, the first ${SHOWN} are shown`}
        </span>
      </div>
      <Confusion answers={data} />
      <p className="kinds">
        {(['right', 'missed', 'spurious', 'shifted', 'size', 'malformed'] as const).map((each) => (
          <span key={each}>
            {each} <b>{count(each)}</b>
          </span>
        ))}
      </p>
      <Roc answers={data} />
      {shown.length === 0 && <Notice title="No answer is like that.">Choose another kind.</Notice>}
      <div className="answers">
        {shown.slice(0, SHOWN).map((answer) => (
          <article key={answer.id}>
            <Picture run={run.id} sample={answer.sample} marks={marksOf(answer)} size={280} />
            <h2>
              <bdi>{answer.sample?.problem ?? answer.id}</bdi>
            </h2>
            <p>
              {KINDS[kindOf(answer)]} · reward {number(answer.reward)}
              {answer.before && ` (${number(answer.before.reward)} at step ${against})`}
            </p>
            <ModelText text={answer.text} />
            <Places boxes={answer.boxes} points={answer.points} />
            {answer.before && answer.before.text !== answer.text && (
              <details>
                <summary>at step {against}</summary>
                <ModelText text={answer.before.text} />
              </details>
            )}
          </article>
        ))}
      </div>
    </>
  );
}

function marksOf(answer: ComparedAnswer): Mark[] {
  const { sample, before } = answer;
  return [
    ...(sample ? [{ name: 'truth', kind: 'truth', boxes: sample.boxes, points: sample.points } as const] : []),
    ...(before ? [{ name: 'before', kind: 'before', boxes: before.boxes, points: before.points } as const] : []),
    { name: 'answer', kind: 'now', boxes: answer.boxes, points: answer.points },
  ];
}

/** Present and absent against something said and []. */
function Confusion({ answers }: { answers: readonly ComparedAnswer[] }) {
  const known = answers.filter(
    ({ evaluation }) => typeof evaluation?.['present'] === 'boolean' && typeof evaluation['saidEmpty'] === 'boolean',
  );
  if (known.length === 0) return null;
  const count = (present: boolean, empty: boolean): number =>
    known.filter(({ evaluation }) => evaluation?.['present'] === present && evaluation['saidEmpty'] === empty).length;
  return (
    <table className="confusion">
      <caption>present and absent</caption>
      <thead>
        <tr>
          <td />
          <th scope="col">said something</th>
          <th scope="col">said []</th>
        </tr>
      </thead>
      <tbody>
        {[true, false].map((present) => (
          <tr key={String(present)}>
            <th scope="row">{present ? 'present' : 'absent'}</th>
            <td className="number">{count(present, false)}</td>
            <td className="number">{count(present, true)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Where answers carry a probability of yes. */
function Roc({ answers }: { answers: readonly ComparedAnswer[] }) {
  const scored = answers.flatMap(({ evaluation }) => {
    const [probability, positive] = [evaluation?.['probability'], evaluation?.['positive'] ?? evaluation?.['truth']];
    return typeof probability === 'number' && typeof positive === 'boolean' ? [{ probability, positive }] : [];
  });
  const positives = scored.filter(({ positive }) => positive).length;
  const negatives = scored.length - positives;
  if (positives === 0 || negatives === 0) return null;
  let [hits, alarms] = [0, 0];
  const points = ['0,100'];
  for (const { positive } of scored.toSorted((a, b) => b.probability - a.probability)) {
    if (positive) hits++;
    else alarms++;
    points.push(`${(100 * alarms) / negatives},${100 - (100 * hits) / positives}`);
  }
  return (
    <svg className="roc" viewBox="0 0 100 100" role="img" aria-label="ROC: hits over false alarms">
      <line x1="0" y1="100" x2="100" y2="0" />
      <polyline points={points.join(' ')} />
    </svg>
  );
}
