import type { Commands } from './commands.js';

/** Loads a command's code only when it is run: `--help` must not wait for the Kubernetes client. */
export const commands: Commands = {
  live: async (request, io) => (await import('./live/live.js')).run(request, io),
  replay: async (request, io) => (await import('./replay/replay.js')).run(request, io),
  demo: async (request, io) => (await import('./demo/demo.js')).run(request, io),
};
