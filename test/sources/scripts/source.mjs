// Runs a live source as it was built (dist/) in this process's network namespace and prints its events,
// one JSON object a line, until stdin ends: `node source.mjs ring|cap|conntrack|legacy [OPTIONS]`.
// Lines on stdin: `block FILE` reads FILE (a pipe) to its end without coming round meanwhile, `relist`.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { map, Subject } from 'rxjs';
import { formatAddress } from '../../../dist/model/address.js';
import * as C from '../../../dist/model/conntrack.js';
import { Interfaces } from '../../../dist/model/interfaces.js';
import * as P from '../../../dist/model/packet.js';

const [kind, text] = process.argv.slice(2);
const options = JSON.parse(text ?? '{}');
const interfaces = new Interfaces();
const relist = new Subject();

const print = (value) =>
  process.stdout.write(
    `${JSON.stringify(value, (_, it) => (typeof it === 'bigint' ? String(it) : it))}\n`,
  );

const onOpen = () => print({ type: 'open' });
const sources = {
  ring: async () =>
    (await import('../../../dist/sources/capture/ring.js')).captureRing(
      { interfaces, onOpen },
      options.size,
    ),
  cap: async () =>
    (await import('../../../dist/sources/capture/cap.js')).captureCap({ ...options, onOpen }),
  conntrack: async () =>
    (await import('../../../dist/sources/conntrack/netlink.js')).conntrackNetlink({
      relist,
      ...options,
    }),
  legacy: async () =>
    (await import('../../../dist/sources/rules/legacy-changes.js'))
      .watchLegacyChanges()
      .pipe(map(() => ({ type: 'changed' }))),
};

function eachRow({ rows, from = 0, to = rows.length }, show) {
  for (let i = from; i < to; i++) print(show(rows.words, i * rows.stride));
}

const packet = (w, r) => ({
  type: 'packet',
  interface: interfaces.name(w[r + P.P_INTERFACE]),
  direction: w[r + P.P_DIRECTION],
  protocol: w[r + P.P_PROTOCOL],
  flags: w[r + P.P_FLAGS],
  src: formatAddress(w, r + P.P_SRC, w[r + P.P_FAMILY]),
  dst: formatAddress(w, r + P.P_DST, w[r + P.P_FAMILY]),
  sport: w[r + P.P_SPORT],
  dport: w[r + P.P_DPORT],
  resolution: w[r + P.P_RESOLUTION],
  lateness: w[r + P.P_LATENESS],
  age: Date.now() / 1e3 - (w[r + P.P_SEC] + w[r + P.P_NSEC] / 1e9),
});

const entry = (w, r) => ({
  type: 'entry',
  event: w[r + C.C_EVENT],
  protocol: w[r + C.C_PROTOCOL],
  dst: formatAddress(w, r + C.C_ODST, w[r + C.C_FAMILY]),
  sport: w[r + C.C_OSPORT],
  dport: w[r + C.C_ODPORT],
  endpoint: formatAddress(w, r + C.C_RSRC, w[r + C.C_FAMILY]),
  endpointPort: w[r + C.C_RSPORT],
  userspace: (w[r + C.C_BITS] & C.IS_USERSPACE) !== 0,
  lateness: w[r + C.C_LATENESS],
  age: Date.now() / 1e3 - (w[r + C.C_SEC] + w[r + C.C_NSEC] / 1e9),
});

const subscription = (await sources[kind]()).subscribe({
  next: (event) => {
    if (event.type === 'packets') eachRow(event, packet);
    else if (event.type === 'conntrack') eachRow(event, entry);
    else print(event);
  },
  error: (error) => {
    print({ type: 'error', name: error.name, message: error.message });
    process.exitCode = 1;
    process.stdin.destroy();
  },
});
createInterface({ input: process.stdin })
  .on('line', (line) => {
    const [word, file] = line.split(' ');
    if (word === 'relist') relist.next();
    else readFileSync(file);
    print({ type: 'done', line });
  })
  .on('close', () => subscription.unsubscribe());
if (kind === 'conntrack' || kind === 'legacy') print({ type: 'open' });
