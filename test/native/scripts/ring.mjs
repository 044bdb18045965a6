// Prints every packet of a ring as a JSON line until stdin ends: `node ring.mjs [OPTIONS]`, JSON with
// `filter` as an array of words. A line `filter WORDS…` on stdin replaces the filter.
import { createInterface } from 'node:readline';
import { print, ring } from './addon.mjs';

const { filter, ...options } = JSON.parse(process.argv[2] ?? '{}');
const it = ring(
  (buffer, count, failure) => {
    if (failure) throw failure;
    const words = new Uint32Array(buffer);
    let at = 0;
    for (let i = 0; i < count; i++) {
      const [
        sec,
        nsec,
        ifindex,
        packetType,
        hardware,
        protocol,
        vlan,
        netOffset,
        captured,
        onWire,
      ] = words.subarray(at, at + 10);
      at += 10;
      print({
        type: 'packet',
        time: sec + nsec / 1e9,
        now: Date.now() / 1000,
        nsec,
        name: it.interfaceName(ifindex),
        packetType,
        hardware,
        protocol,
        vlan,
        netOffset,
        captured,
        onWire,
        bytes: Buffer.from(buffer, at * 4, captured).toString('hex'),
      });
      at += (captured + 3) >> 2;
    }
  },
  { ...options, ...(filter && { filter: Uint32Array.from(filter) }) },
);
createInterface({ input: process.stdin })
  .on('line', (line) => {
    it.setFilter(Uint32Array.from(line.split(' ').slice(1), Number));
    print({ type: 'filtered' });
  })
  .on('close', () => {
    print({ type: 'stats', ...it.stats() });
    it.close();
  });
print({ type: 'open' });
