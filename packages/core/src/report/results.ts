/** The table of results, with the best value of each column emphasised. */
import type { ReportColumn, ReportRow } from './data.ts';
import { html, type Html } from './html.ts';
import type { Palette } from './palette.ts';

export function results(rows: readonly ReportRow[], columns: readonly ReportColumn[], palette: Palette): Html {
  const best = new Map(columns.map((column) => [column.key, bestShown(rows, column)]));
  return html`<div class="wide">
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
  </div>`;
}

function heading({ label, unit, better }: ReportColumn): Html {
  const arrow = better === 'higher' ? '\u2191' : '\u2193';
  return html`<th scope="col" title="${better} is better">${label}<small>${unit} ${arrow}</small></th>`;
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
