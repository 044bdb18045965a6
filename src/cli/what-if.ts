import { UsageError } from '../model/problem.js';
import type { ExplainRequest, WhatIfQuestion, WhyNotQuestion } from './explain-request.js';
import type { Io } from './io.js';

/** `whichpod explain --what-if`: where a packet that nobody sent could go. */
export function whatIf(
  _question: WhatIfQuestion,
  _request: ExplainRequest,
  _io: Io,
): Promise<number> {
  throw new UsageError('--what-if is not there yet');
}

/** `whichpod explain --why-not`: why a Pod gets nothing of a Service. */
export function whyNot(
  _question: WhyNotQuestion,
  _request: ExplainRequest,
  _io: Io,
): Promise<number> {
  throw new UsageError('--why-not is not there yet');
}
