import { formatEndpoint } from '../model/address.js';
import type { BalancerView, EndpointView, RuleOverview, ServiceView } from '../model/rule-view.js';
import { escapeText } from './escape.js';
import { GAP, layOut, type Shape } from './layout.js';
import { podWord, shareWord } from './rules-words.js';
import { humanCount } from './units.js';
import { displayWidth, shorten } from './width.js';

/** What a row of an endpoint is made from. */
export interface Row {
  readonly service: ServiceView;
  readonly balancer: BalancerView;
  readonly endpoint: EndpointView;
}

export interface RuleColumn extends Shape {
  readonly header: string;
  readonly right?: true;
  readonly dim?: true;
  readonly cell: (row: Row) => string;
}

const NOTHING = '—';
const BETWEEN = ' '.repeat(GAP);

function column(
  rank: number,
  header: string,
  [min, usual, max]: readonly [number, number, number],
  cell: RuleColumn['cell'],
  rest: { readonly right?: true; readonly dim?: true; readonly essential?: false } = {},
): RuleColumn {
  const { essential = true, ...others } = rest;
  return { rank, header, min, usual, max, cell, essential, ...others };
}

const total = (what: 'packets' | 'bytes', { chance, sticky }: EndpointView): string => {
  if (chance === undefined && sticky === undefined) return '';
  return humanCount((chance?.[what] ?? 0) + (sticky?.[what] ?? 0));
};

const ENDPOINT = column(2, 'ENDPOINT', [13, 13, 47], ({ endpoint: { ip, port } }) =>
  escapeText(formatEndpoint(ip, port)),
);
const COUNTS: readonly RuleColumn[] = [
  column(3, 'SHARE', [8, 8, 60], ({ endpoint }) => shareWord(endpoint), { right: true }),
  column(4, 'PACKETS', [12, 12, 20], ({ endpoint }) => total('packets', endpoint), { right: true }),
  column(6, 'BYTES', [12, 12, 20], ({ endpoint }) => total('bytes', endpoint), { right: true }),
];
const NODE = column(5, 'NODE', [8, 8, 40], ({ endpoint }) => escapeText(endpoint.node ?? ''));
const CHAIN = column(
  8,
  'CHAIN',
  [14, 25, 120],
  ({ endpoint, balancer }) => escapeText(endpoint.chain ?? balancer.chain ?? ''),
  { dim: true, essential: false },
);

/** Columns of an endpoint's row; those that nobody could fill are left out. */
export function endpointColumns({ hasCluster, services }: RuleOverview): RuleColumn[] {
  const pod = column(1, 'POD', [10, 20, 80], ({ service, endpoint }) =>
    podWord(endpoint, service.service?.namespace),
  );
  const has = (found: (endpoint: EndpointView) => boolean): boolean =>
    services.some(({ balancers }) => balancers.some(({ endpoints }) => endpoints.some(found)));
  const chained = has(({ chain }) => chain !== undefined);
  return [
    ...(hasCluster ? [pod] : []),
    hasCluster ? ENDPOINT : { ...ENDPOINT, rank: 1 },
    ...(hasCluster ? [NODE] : []),
    ...COUNTS,
    ...(chained ? [CHAIN] : []),
  ];
}

export const SERVICE_COLUMN: RuleColumn = column(
  1,
  'SERVICE',
  [10, 16, 80],
  ({ service: { service, ways } }) => {
    if (service === undefined) {
      const [way] = ways;
      return way === undefined ? '' : `${way.via} ${way.port}`;
    }
    const { namespace, name, portName } = service;
    return escapeText(`${namespace}/${name}${portName === undefined ? '' : `:${portName}`}`);
  },
);

/** How wide each column is for all rows of an overview. */
export class RuleLayout {
  readonly columns: readonly RuleColumn[];
  private readonly widths: readonly number[];

  constructor(
    columns: readonly RuleColumn[],
    overview: RuleOverview,
    available: number | undefined,
  ) {
    this.columns = columns;
    const seen = columns.map(({ header }) => header.length);
    for (const row of rowsOf(overview)) {
      for (let i = 0; i < columns.length; i++) {
        const cell = columns[i]?.cell(row) ?? '';
        seen[i] = Math.max(seen[i] ?? 0, displayWidth(cell));
      }
    }
    // All rows are known: a column needs what its widest cell needs.
    const shapes = columns.map((shape, i) => {
      const width = Math.min(shape.max, seen[i] ?? 0);
      return { ...shape, usual: width, min: Math.min(shape.min, width) };
    });
    this.widths = layOut(shapes, seen, available);
  }

  header(): string {
    return this.line((it) => it.header);
  }

  row(row: Row, dim: (text: string) => string): string {
    return this.line((it) => it.cell(row) || NOTHING, dim);
  }

  private line(text: (it: RuleColumn) => string, dim?: (text: string) => string): string {
    let line = '';
    // A large rule set has 100,000 rows.
    for (let i = 0; i < this.columns.length; i++) {
      const it = this.columns[i];
      const width = this.widths[i] ?? 0;
      if (it === undefined || width === 0) continue;
      const cell = shorten(text(it), width, 'middle');
      const room = ' '.repeat(Math.max(0, width - displayWidth(cell)));
      const painted = it.dim && dim ? dim(cell) : cell;
      if (line !== '') line += BETWEEN;
      line += it.right ? room + painted : painted + room;
    }
    return line.trimEnd();
  }
}

export function* rowsOf({ services }: RuleOverview): Generator<Row> {
  for (const service of services) {
    for (const balancer of service.balancers) {
      for (const endpoint of balancer.endpoints) yield { service, balancer, endpoint };
    }
  }
}
