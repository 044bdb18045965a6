import type { InputEvent } from '../model/event.js';
import type { Interfaces } from '../model/interfaces.js';
import { inTime } from './in-time.js';
import { RuleSurvey } from './rule-survey.js';

/** Recorded inputs as they are opened, as far as their order matters. */
export interface Opened {
  readonly prelude: readonly InputEvent[];
  readonly streams: readonly AsyncIterable<InputEvent>[];
  /** Of a whichpod recording alone: whether its run had read the rules as far as they can be. */
  readonly recorded?: { readonly concluded: boolean };
}

/**
 * All events of recorded inputs as the machine gets them, with the names that rules' hashes confirm:
 * `before` holds from the beginning, `after` is what happened, in order.
 */
export function openedEvents(
  inputs: Opened,
  interfaces: Interfaces,
): {
  readonly before: readonly InputEvent[];
  readonly after: AsyncGenerator<readonly InputEvent[]>;
} {
  const { prelude, recorded } = inputs;
  const survey = new RuleSurvey();
  // A live run learns as it goes, and its recording says again what it said.
  if (recorded === undefined) survey.prepare(prelude);
  const before = prelude.flatMap((event) => survey.take(event));
  if (recorded?.concluded !== false) before.push(...survey.conclude());
  return { before, after: surveyed(inputs, interfaces, survey) };
}

async function* surveyed(
  inputs: Opened,
  interfaces: Interfaces,
  survey: RuleSurvey,
): AsyncGenerator<readonly InputEvent[]> {
  for await (const batch of inTime(inputs, interfaces)) {
    yield batch.flatMap((event) => survey.take(event));
  }
}
