import type { Audit, AuditedEndpoint, RuleOverview } from '../model/rule-view.js';
import { chiSquaredTail } from './chi-squared.js';
import type { HeldRules } from './rule-book.js';
import { counterKey, type Snapshot, wentOn } from './rule-moves.js';

/** Below so many expected in a cell the chi-squared distribution is no good approximation (Cochran's rule). */
const MIN_EXPECTED = 5;
/** iptables' fourth of four is a little less than 1/4; nobody wants to read 21 for it. */
const ROUNDING = 1e-6;
/** How often chance alone may call anything skewed at all, whatever the number of balancers that are tested. */
const FALSE_ALARMS = 0.01;

/** What was counted while the rules gave each endpoint this chance. */
export interface Stratum {
  readonly cells: readonly { readonly observed: number; readonly probability: number }[];
}

type Tested = Pick<Audit, 'verdict' | 'total' | 'test' | 'needed'>;

/**
 * Tests whether endpoints were chosen as the rules say. Where the rules changed in between each part is tested
 * by its own chances; chi-squared values of independent parts add up, and so do their degrees of freedom.
 */
export function testStrata(strata: readonly Stratum[]): Tested {
  let total = 0;
  let chiSquared = 0;
  let degrees = 0;
  let compared = 0;
  let needed = 0;
  let isChoice = false;
  for (const { cells } of strata) {
    const count = cells.reduce((n, { observed }) => n + observed, 0);
    total += count;
    if (cells.length < 2) continue;
    isChoice = true;
    const least = Math.min(...cells.map(({ probability }) => probability));
    needed = Math.max(needed, least > 0 ? Math.ceil(MIN_EXPECTED / least - ROUNDING) : 0);
    const pooled = pool(cells.map((cell) => ({ ...cell, expected: count * cell.probability })));
    if (pooled.length < 2) continue;
    compared += pooled.length;
    degrees += pooled.length - 1;
    for (const { observed, expected } of pooled) {
      chiSquared += expected > 0 ? (observed - expected) ** 2 / expected : 0;
    }
  }
  if (!isChoice) return { verdict: 'no choice', total };
  if (degrees === 0) return { verdict: 'too few', total, needed };
  const p = chiSquaredTail(chiSquared, degrees);
  return { verdict: 'even', total, test: { chiSquared, degrees, p, cells: compared } };
}

interface Cell {
  readonly observed: number;
  readonly expected: number;
}

/** Cells of which too few are expected, as one with others; nothing is left out. */
function pool(cells: readonly Cell[]): readonly Cell[] {
  const sorted = cells
    .filter(({ expected, observed }) => expected > 0 || observed > 0)
    .sort((a, b) => a.expected - b.expected);
  let small: Cell | undefined;
  let used = 0;
  for (const cell of sorted) {
    const isEnough = (small ?? cell).expected >= MIN_EXPECTED;
    if (isEnough && cell.expected >= MIN_EXPECTED) break;
    small = {
      observed: (small?.observed ?? 0) + cell.observed,
      expected: (small?.expected ?? 0) + cell.expected,
    };
    used++;
  }
  if (small === undefined) return sorted;
  return small.expected >= MIN_EXPECTED ? [small, ...sorted.slice(used)] : [];
}

/** Calls skewed what is too unlikely for chance, given how many were tested. */
export function conclude(audits: readonly Audit[]): readonly Audit[] {
  const tested = audits.filter(({ test }) => test !== undefined).length;
  return audits.map((audit) =>
    audit.test !== undefined && audit.test.p * tested < FALSE_ALARMS
      ? { ...audit, verdict: 'skewed' }
      : audit,
  );
}

/**
 * Audits what counters say: of one dump what was counted since kube-proxy wrote the chains, of two the
 * difference. Connections that session affinity directed are not counted: no chance decided those.
 */
export function auditCounters(
  overview: RuleOverview,
  held: readonly HeldRules[],
  earlier?: Snapshot,
): readonly Audit[] {
  const audits: Audit[] = [];
  for (const { service, protocol, balancers } of overview.services) {
    for (const { read, chain, endpoints, affinity } of balancers) {
      const one = held[read];
      if (chain === undefined || one === undefined || !overview.read[read]?.hasCounters) continue;
      const remarks: string[] = [];
      let resets = 0;
      const cells = endpoints.map((endpoint) => {
        const now = endpoint.chance?.packets ?? 0;
        const was = earlier?.get(counterKey(one, chain, endpoint.chain ?? ''));
        if (was === undefined) return now;
        const is = {
          chance: endpoint.chance ?? was.chance,
          sticky: endpoint.sticky ?? was.sticky,
          text: was.text,
        };
        if (wentOn(was, is)) return now - was.chance.packets;
        resets++;
        return now;
      });
      const strata = [
        {
          cells: endpoints.map(({ probability = 0 }, i) => ({
            observed: cells[i] ?? 0,
            probability,
          })),
        },
      ];
      const tested = testStrata(strata);
      if (resets > 0)
        remarks.push('kube-proxy wrote the chain anew in between: counted since then');
      if (affinity) {
        const stuck = endpoints.reduce((n, { sticky }) => n + (sticky?.packets ?? 0), 0);
        remarks.push(
          `session affinity: of returning clients (${stuck} connections) none is counted, no chance decided them`,
        );
      }
      audits.push({
        ...(service && { service }),
        protocol,
        ...(one.node !== undefined && { node: one.node }),
        chain,
        over: 'counters',
        ...tested,
        endpoints: endpoints.map(
          ({ ip, port, pod, probability = 0 }, i): AuditedEndpoint => ({
            ip,
            port,
            ...(pod && { pod }),
            observed: cells[i] ?? 0,
            expected: tested.total * probability,
          }),
        ),
        remarks,
      });
    }
  }
  return conclude(audits);
}
