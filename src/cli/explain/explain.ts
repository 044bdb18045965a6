import { explainCase } from '../../explain/explain.js';
import { exploreWalk } from '../../explain/walk/explore.js';
import { EXIT } from '../exit.js';
import type { Io } from '../io.js';
import { showExplanation } from './output.js';
import type { ExplainRequest } from './request.js';

/** `whichpod explain`. */
export async function run(request: ExplainRequest, io: Io): Promise<number> {
  const { question, inputs, output } = request;
  switch (question.kind) {
    case 'what-if':
      return (await import('./what-if.js')).whatIf(question, request, io);
    case 'why-not':
      return (await import('./what-if.js')).whyNot(question, request, io);
    case 'connection': {
      const { selector, next } = question;
      const found =
        inputs.length > 0
          ? await (await import('./recorded.js')).recordedCase(selector, request, io)
          : await (await import('./live.js')).liveCase(selector, next, request, io);
      // Interrupted, or nothing came in the time that there was.
      if (found === undefined) return io.signal.aborted ? EXIT.interrupted : EXIT.found;
      await showExplanation(explainCase(found, exploreWalk), output, io);
      return EXIT.done;
    }
  }
}
