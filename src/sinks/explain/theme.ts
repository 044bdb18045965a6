/** Colours of picture and page, light and dark. Contrast of text is 4.5:1 or more in both (WCAG 2.2, 1.4.3). */
const LIGHT =
  '--paper:#fff;--ink:#1c2430;--dim:#5b6675;--lane:#f4f6f9;--edge:#c8d0da;--box:#fff;--line:#98a3b1;--good:#0b6b3a;--good-fill:#dff3e6;--bad:#a8201a;--bad-fill:#fbe4e2;--warn:#7a5200;--warn-fill:#fdf0d2;--accent:#0a5c8f;--accent-fill:#e1f0fa';
const DARK =
  '--paper:#12171e;--ink:#e4e9ef;--dim:#9aa7b6;--lane:#1a212b;--edge:#364152;--box:#212a36;--line:#66758a;--good:#6fdc9c;--good-fill:#173a28;--bad:#ff9d94;--bad-fill:#45211f;--warn:#f3c76b;--warn-fill:#3f3216;--accent:#82c7f5;--accent-fill:#16324a';

/** The variables for `selector`, by what the reader's system prefers. */
export function colorsFor(selector: string): string {
  return `${selector}{${LIGHT}}@media (prefers-color-scheme:dark){${selector}{${DARK}}}`;
}

const FONT = 'ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace';

/** Of the drawing: everything lies below the class `wp`. */
export const DRAWING_STYLE = [
  `.wp text{font:12px ${FONT};fill:var(--ink)}`,
  '.wp .lane{fill:var(--lane);stroke:none}',
  '.wp .hook{font-weight:700;fill:var(--accent)}',
  '.wp .heading{font-weight:700;font-size:14px}',
  '.wp .box{fill:var(--box);stroke:var(--edge)}',
  '.wp .title{font-weight:700}',
  '.wp .dim,.wp .passed text,.wp .number{fill:var(--dim)}',
  '.wp .end{text-anchor:end}',
  '.wp .middle{text-anchor:middle}',
  '.wp .share{fill:var(--accent);font-weight:700}',
  '.wp .refused text,.wp .bad{fill:var(--bad)}',
  '.wp .refused>.box{fill:var(--bad-fill);stroke:var(--bad)}',
  '.wp .unknown text{fill:var(--warn)}',
  '.wp .endpoint>.box,.wp .through>.box{fill:var(--accent-fill);stroke:var(--accent)}',
  '.wp .endpoint.taken>.box,.wp .through.taken>.box{fill:var(--good-fill);stroke:var(--good)}',
  '.wp .taken>.box{stroke:var(--good);stroke-width:2}',
  '.wp .refused.taken>.box{stroke:var(--bad)}',
  '.wp .way{fill:var(--good-fill)}',
  '.wp .row.refused .way{fill:var(--bad-fill)}',
  '.wp .link{fill:none;stroke:var(--line);stroke-width:1.3}',
  '.wp .link.taken{stroke:var(--good);stroke-width:2.4}',
  '.wp .rail{stroke:var(--edge)}',
].join('');
