import type { Nanos } from './time.js';

/** One thing that a connection's case shows, with what shows it. docs/diagnoses.md lists the codes. */
export interface Finding {
  /** Stable, kebab-case. */
  readonly code: string;
  /** fault: it is why the connection failed, or will hurt others; odd: works, but surprises; fact: as configured. */
  readonly weight: 'fault' | 'odd' | 'fact';
  /** One line, with the names of this case. */
  readonly title: string;
  /** What shows it: each a statement of fact that can be checked. */
  readonly evidence: readonly FindingEvidence[];
  readonly meaning: string;
  /** What to look at or do next; commands where there are some. */
  readonly next: readonly string[];
}

export interface FindingEvidence {
  readonly from: 'packets' | 'conntrack' | 'rules' | 'cluster' | 'node';
  readonly says: string;
  readonly time?: Nanos;
}
