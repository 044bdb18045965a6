// Does not come round while 4,000 datagrams of 30,000 bytes pass over lo (120 MB: more than the ring's
// 1 MiB and the 96 MiB kept for JavaScript), then reads on: every packet must be either seen or counted.
import { execFileSync } from 'node:child_process';
import { print, ring } from './addon.mjs';

const SENDER = `
  const socket = require('node:dgram').createSocket('udp4');
  const data = Buffer.alloc(30_000);
  let left = 4_000;
  const next = () => (left-- > 0 ? socket.send(data, 9, '127.0.0.1', next) : socket.close());
  next();`;
let seen = 0;
const it = ring(
  (_, count) => {
    seen += count;
    const stats = it.stats();
    if (seen + stats.drops < stats.packets) return;
    print({ type: 'stats', seen, waited, waits: it.waiting(), ...stats });
    it.close();
  },
  { filter: Uint32Array.of(0x06, 65535) },
);
execFileSync(process.execPath, ['-e', SENDER]);
const waited = it.waiting();
