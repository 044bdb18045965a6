/** npm passes a Ctrl-C on to a child that the terminal has told already: within this time it is the same one. */
const SAME_KEYPRESS_MS = 300;

/** `disconnect`: the process that started this one with a channel has gone, in whatever way. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'disconnect'] as const;

/** The part of a process that tells of signals. */
export interface SignalSource {
  on(signal: (typeof SIGNALS)[number], listener: () => void): unknown;
}

/** Aborts on the first signal, for a clean end; a second one calls `exit`, which is to end the process at once. */
export function interruption(
  source: SignalSource,
  exit: () => void,
  nowMs: () => number,
): AbortSignal {
  const controller = new AbortController();
  let first = 0;
  const interrupt = (): void => {
    if (!controller.signal.aborted) {
      first = nowMs();
      controller.abort();
    } else if (nowMs() - first > SAME_KEYPRESS_MS) {
      exit();
    }
  };
  for (const signal of SIGNALS) source.on(signal, interrupt);
  return controller.signal;
}
