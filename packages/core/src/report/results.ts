/** The table of results, with the best value of each column emphasised. */
import type { ReportColumn, ReportRow } from './data.ts';
import { html, type Html } from './html.ts';
import type { Palette } from './palette.ts';

export function results(rows: readonly ReportRow[], columns: readonly ReportColumn[], palette: Palette): Html {
  const best = new Map(columns.map((column) => [column.key, bestShown(rows, column)]));
  return html`${columns.length > FEW ? html`<p class="swipe">The table goes on to the right →</p>` : undefined}
    <div class="wide">
      <table>
        <thead>
          <tr>
            <th></th>
            ${columns.map(heading)}
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            ({ name, metrics }) =>
              html`<tr>
                <th scope="row" class="${palette.of(name)}"><i></i>${name}</th>
                ${columns.map(({ key }) => {
                  const text = shown(metrics[key]);
                  return html`<td${text === best.get(key) ? html` class="best"` : undefined}>${text}</td>`;
                })}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${definitions(columns)}`;
}

/** Columns that a telephone shows beside the names. */
const FEW = 3;

function definitions(columns: readonly ReportColumn[]): Html | undefined {
  const defined = columns.filter(({ definition }) => definition !== undefined);
  if (defined.length === 0) return undefined;
  return html`<details class="definitions">
    <summary>What the columns mean</summary>
    <dl>
      ${defined.map(
        ({ label, definition }) =>
          html`<div>
            <dt>${label}</dt>
            <dd>${definition}</dd>
          </div>`,
      )}
    </dl>
  </details>`;
}

function heading({ label, unit, better, definition }: ReportColumn): Html {
  const arrow = better === 'higher' ? '\u2191' : '\u2193';
  const meaning = definition === undefined ? '' : `${definition} `;
  return html`<th scope="col" title="${meaning}(${better} is better)">${label}<small>${unit} ${arrow}</small></th>`;
}

/** The best as shown, so that what looks equal is emphasised equally; undefined where all rows look equal. */
export function bestShown(rows: readonly ReportRow[], { key, better }: ReportColumn): string | undefined {
  const values = rows.map(({ metrics }) => metrics[key] ?? NaN).filter((value) => !Number.isNaN(value));
  if (new Set(values.map(shown)).size < 2) return undefined;
  return shown(better === 'higher' ? Math.max(...values) : Math.min(...values));
}

/** A number with one decimal; a dash where nothing was measured. */
export function shown(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return '\u2013';
  return value.toFixed(1).replace('-', '\u2212');
}
