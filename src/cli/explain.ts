import { UsageError } from '../model/problem.js';
import type { ExplainRequest } from './explain-request.js';
import type { Io } from './io.js';

/** `whichpod explain`. */
export async function run(request: ExplainRequest, io: Io): Promise<number> {
  const { question } = request;
  switch (question.kind) {
    case 'what-if':
      return (await import('./what-if.js')).whatIf(question, request, io);
    case 'why-not':
      return (await import('./what-if.js')).whyNot(question, request, io);
    case 'connection':
      throw new UsageError('explain is not there yet');
  }
}
