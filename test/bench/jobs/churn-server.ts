import { createServer } from 'node:net';

interface ServerJob {
  readonly port: number;
}

/** Longer than any burst, so that no SYN is dropped for want of room. */
const BACKLOG = 4_096;

/** Accepts connections and closes them, until stdin ends; says `ready` when it listens. */
export async function job({ port }: ServerJob): Promise<number> {
  let accepted = 0;
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    accepted++;
    socket.on('error', () => undefined); // the client resets
    socket.destroy();
  });
  await new Promise<void>((resolve) => {
    server.listen({ port, host: '0.0.0.0', backlog: BACKLOG }, resolve);
  });
  process.stdout.write('ready\n');
  await new Promise((resolve) => process.stdin.once('end', resolve).resume());
  server.close();
  return accepted;
}
