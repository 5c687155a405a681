/** The style sheet of a report: light and dark, from a telephone to a wide screen. */
import { trusted } from './html.ts';

/** Toggles without a script: an unchecked box hides the rectangles of its kind. */
const LAYERS = ['truth', 'c0', 'c1', 'c2', 'c3', 'c4', 'c5']
  .map((kind) => `.layers:has(.show-${kind}:not(:checked)) .boxes.${kind}`)
  .join(',');

export const style = trusted(`
:root {
  color-scheme: light dark;
  --page: #fafaf8; --card: #ffffff; --ink: #1c2024; --soft: #667078; --rule: #e6e7e4; --grid: #eeeeeb;
  --good: #17774b; --bad: #ad4527;
  --c0: #87909e; --c1: #dd7a1c; --c2: #3d7ff0; --c3: #199b76; --c4: #9a5fe0; --c5: #d4478f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #131517; --card: #1b1e21; --ink: #e8eaec; --soft: #98a1a9; --rule: #2b3034; --grid: #25292d;
    --good: #5cc893; --bad: #ec8f6f;
    --c1: #ea8c33; --c2: #5b95f7; --c3: #2fb58d; --c4: #ad7bea; --c5: #e264a3;
  }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
main { max-width: 1120px; margin: 0 auto; padding: clamp(24px, 5vw, 64px) clamp(16px, 4vw, 40px) }
h1 { font-size: clamp(26px, 4vw, 36px); line-height: 1.2; letter-spacing: -.02em; margin: 0 0 16px; text-wrap: balance }
h2 { font-size: 20px; letter-spacing: -.01em; margin: 56px 0 16px }
h3 { font-size: 15px; margin: 0; overflow-wrap: anywhere }
.intro p { max-width: 68ch; margin: 0 0 12px; color: var(--soft) }
.c0 { --own: var(--c0) } .c1 { --own: var(--c1) } .c2 { --own: var(--c2) }
.c3 { --own: var(--c3) } .c4 { --own: var(--c4) } .c5 { --own: var(--c5) }
i { display: inline-block; width: 10px; height: 10px; border-radius: 3px; background: var(--own); margin-right: 8px; flex: none }
.facts { display: flex; flex-wrap: wrap; gap: 4px 28px; margin: 16px 0 0; padding: 0; border: 0; font-size: 13px }
.facts dt, .facts dd { display: inline; margin: 0; font: inherit; font-size: 13px }
.facts dt { color: var(--soft); margin-right: 6px } .facts dd { color: var(--ink) }
.definitions { margin-top: 10px; font-size: 13px; color: var(--soft) } .definitions summary { cursor: pointer }
.definitions dl { border: 0; padding: 0; margin: 8px 0 0; max-width: 84ch } .definitions div { margin-bottom: 4px }
.definitions dt, .definitions dd { display: inline; font: inherit; font-size: 13px } .definitions dt { font-weight: 600; color: var(--ink); margin-right: 8px }
.swipe { display: none; margin: 24px 0 -24px; font-size: 13px; color: var(--soft); text-align: right }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--rule); border-radius: 12px; margin-top: 32px }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: 12px clamp(6px, 1.2vw, 14px); text-align: right; white-space: nowrap }
th:first-child { text-align: left; padding-left: 22px }
thead th { font-size: 13px; font-weight: 600; color: var(--soft) }
thead small { display: block; font-weight: 400; font-size: 12px }
tbody tr { border-top: 1px solid var(--rule) }
tbody th { font-weight: 600 }
td { color: var(--soft) }
td.best { font-weight: 700; color: var(--ink) }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); gap: 16px }
.chart { margin: 0; padding: 18px 18px 14px; background: var(--card); border: 1px solid var(--rule); border-radius: 12px }
.chart figcaption { display: flex; justify-content: space-between; align-items: baseline; gap: 12px; margin-bottom: 8px }
.chart figcaption span { color: var(--soft); font-size: 13px }
.chart svg { display: block; width: 100%; height: auto }
.grid { stroke: var(--grid) } .axis { stroke: var(--rule) }
.tick { fill: var(--soft); font-size: 11px; font-variant-numeric: tabular-nums }
.line { fill: none; stroke: var(--own); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round }
.raw { fill: none; stroke: var(--own); stroke-width: 1; opacity: .22; stroke-linejoin: round }
.band { fill: var(--own); opacity: .15 }
.chart circle { fill: var(--own) }
.key { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 8px 0 0; padding: 0; font-size: 13px; color: var(--soft) }
.none { color: var(--soft) }
.toggles { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: 8px; padding: 10px 0; background: var(--page) }
.toggles label { display: inline-flex; align-items: center; padding: 4px 12px 4px 10px; border: 1px solid var(--rule); border-radius: 99px; background: var(--card); font-size: 13px; cursor: pointer; user-select: none }
.toggles input { position: absolute; opacity: 0 }
.toggles label:has(:focus-visible) { outline: 2px solid var(--c2); outline-offset: 2px }
.toggles label:has(input:not(:checked)) { color: var(--soft); text-decoration: line-through }
.toggles label:has(input:not(:checked)) i { opacity: .25 }
.toggles .truth i { background: #fff; box-shadow: 0 0 0 2px #1c2024; border-radius: 2px; width: 9px; height: 9px }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(240px, 100%), 1fr)); gap: 16px; margin-top: 6px }
article { display: flex; flex-direction: column; background: var(--card); border: 1px solid var(--rule); border-radius: 12px; overflow: hidden; min-width: 0 }
article h3 { padding: 12px 16px 0 }
.picture { display: block; width: 100%; height: auto; background: #000 }
.picture.pixels image { image-rendering: pixelated }
.boxes rect { fill: none; stroke: var(--own); stroke-width: 2.5; vector-effect: non-scaling-stroke; stroke-dasharray: 9 5 }
.boxes.c0 rect { stroke-dasharray: 2 4 }
.boxes.c2 rect { stroke-dasharray: none }
.boxes.truth rect { stroke: #fff; stroke-width: 5; stroke-dasharray: none }
.boxes rect.halo { stroke: #000; stroke-width: 4.5; opacity: .55; stroke-dasharray: none }
.boxes.truth rect.halo { stroke-width: 7 }
.said { margin: 0; padding: 0 16px; font-size: 13px; color: var(--soft) }
dl { margin: 10px 0 0; border-top: 1px solid var(--rule); padding: 10px 16px 14px }
dt { display: flex; align-items: center; font-size: 13px; font-weight: 600; margin-top: 8px }
dt:first-child { margin-top: 0 }
dt span { margin-left: auto; padding-left: 8px; font-weight: 500; font-variant-numeric: tabular-nums }
.right { color: var(--good) } .wrong { color: var(--bad) }
dd { margin: 2px 0 0; font: 12px/1.5 ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; color: var(--soft); white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate }
.notes { margin: 0; padding-left: 20px; color: var(--soft); max-width: 76ch }
.notes li { margin-bottom: 6px }
@media (max-width: 720px) {
  .swipe { display: block }
  .wide {
    background:
      linear-gradient(to right, var(--card) 30%, transparent) left / 40px 100% no-repeat local,
      linear-gradient(to left, var(--card) 30%, transparent) right / 40px 100% no-repeat local,
      radial-gradient(farthest-side at 0 50%, #0006, transparent) left / 14px 100% no-repeat scroll,
      radial-gradient(farthest-side at 100% 50%, #0006, transparent) right / 14px 100% no-repeat scroll,
      var(--card);
  }
  tbody th:first-child, thead th:first-child { position: sticky; left: 0; background: var(--card); padding-left: 12px }
}
.zoom { border-top: 1px solid var(--rule) }
${LAYERS} { display: none }
@media print { .toggles { display: none } article, .chart { break-inside: avoid } }
`);
