import type { Outcome, Reason, Verdict } from '../model/attribution.js';

// A saying is verdict, reason and outcome in one small number, of which each connection has several.

const VERDICT_CODES: Readonly<Record<Verdict, number>> = {
  attributed: 1,
  unattributed: 2,
  conflict: 3,
};
const REASON_CODES: Readonly<Record<Reason, number>> = {
  'no-endpoints': 1,
  'no-evidence': 2,
  'unknown-service-address': 3,
  filtered: 4,
  lost: 5,
  'time-too-coarse': 6,
  'conntrack-disagrees': 7,
  'packets-disagree': 8,
  'rules-disagree': 9,
};
const OUTCOME_CODES: Readonly<Record<Outcome, number>> = {
  open: 0,
  established: 1,
  refused: 2,
  reset: 3,
  unanswered: 4,
  rejected: 5,
};

const REASON_SHIFT = 2;
const OUTCOME_SHIFT = 6;
const VERDICT_MASK = 0b11;
const REASON_MASK = 0b1111;

const VERDICTS = byCode(VERDICT_CODES);
const REASONS = byCode(REASON_CODES);
const OUTCOMES = byCode(OUTCOME_CODES);

function byCode<Name extends string>(codes: Readonly<Record<Name, number>>): readonly Name[] {
  const names: Name[] = [];
  for (const [name, code] of Object.entries(codes) as [Name, number][]) names[code] = name;
  return names;
}

interface Said {
  readonly verdict?: Verdict | undefined;
  readonly reason?: Reason | undefined;
  readonly outcome: Outcome;
}

export function sayingOf({ verdict, reason, outcome }: Said): number {
  return (
    (verdict === undefined ? 0 : VERDICT_CODES[verdict]) |
    ((reason === undefined ? 0 : REASON_CODES[reason]) << REASON_SHIFT) |
    (OUTCOME_CODES[outcome] << OUTCOME_SHIFT)
  );
}

export function verdictIn(saying: number): Verdict | undefined {
  return VERDICTS[saying & VERDICT_MASK];
}

export function reasonIn(saying: number): Reason | undefined {
  return REASONS[(saying >> REASON_SHIFT) & REASON_MASK];
}

export function outcomeIn(saying: number): Outcome {
  return OUTCOMES[saying >> OUTCOME_SHIFT] ?? 'open';
}
