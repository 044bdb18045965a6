import { connect } from 'node:net';

interface ClientJob {
  readonly host: string;
  readonly port: number;
  readonly connections: number;
  /** As many as this are on their way at the same time. */
  readonly concurrency: number;
  /** Begun in a second at most; absent: as fast as it goes. */
  readonly perSecond?: number;
}

interface ClientResult {
  readonly connected: number;
  readonly failed: number;
  readonly seconds: number;
}

/** How often it looks how many are due. */
const PACE_MS = 1;

/** Opens connections and resets each as soon as it stands, so that no port waits in TIME_WAIT. */
export function job(input: ClientJob): Promise<ClientResult> {
  return new Promise((resolve) => {
    const { host, port, connections, concurrency, perSecond } = input;
    const start = performance.now();
    let begun = 0;
    let open = 0;
    let connected = 0;
    let failed = 0;
    let timer: NodeJS.Timeout | undefined;
    const due = (): number =>
      perSecond === undefined
        ? connections
        : Math.min(connections, Math.ceil(((performance.now() - start) / 1000) * perSecond));
    const over = (): void => {
      open--;
      if (connected + failed === connections) {
        clearInterval(timer);
        resolve({ connected, failed, seconds: (performance.now() - start) / 1000 });
      } else if (perSecond === undefined) begin();
    };
    const begin = (): void => {
      for (const until = due(); begun < until && open < concurrency; ) {
        begun++;
        open++;
        const socket = connect({ host, port });
        let stood = false;
        socket.once('connect', () => {
          stood = true;
          connected++;
          socket.resetAndDestroy();
        });
        socket.on('error', () => {
          if (!stood) failed++;
        });
        socket.once('close', over);
      }
    };
    begin();
    if (perSecond !== undefined) timer = setInterval(begin, PACE_MS);
  });
}
