// Cases of an object's life: `node lifecycle.mjs ring|netlink CASE...`, those that end the process last.
// Ends with 0 and a line `{"type":"ok"}` if everything was as documented; any other end is a failure.
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { Worker } from 'node:worker_threads';
import { addon, linkRequest, NLM_F_DUMP, NLM_F_REQUEST, netlink, print, ring } from './addon.mjs';

const [kind, ...names] = process.argv.slice(2);
const open = kind === 'ring' ? ring : netlink;
const use = (it) => (kind === 'ring' ? it.stats() : it.receiveBufferBytes());

const cases = {
  'open and close': () => {
    open().close();
  },
  'close twice': () => {
    const it = open();
    it.close();
    it.close();
    assert.throws(() => use(it), { code: 'EBADF' });
  },
  'close while waiting': async () => {
    const it = open();
    // Long enough in poll() that the reader has surely come there.
    await new Promise((resolve) => setTimeout(resolve, 20));
    it.close();
  },
  'close in the callback': () =>
    new Promise((resolve) => {
      const it = open(() => {
        it.close();
        resolve();
      });
      provoke(it);
    }),
  'exit while open': () => {
    open();
    process.on('exit', () => print({ type: 'ok' }));
    process.exit(0);
  },
  'the script’s end is not the end while open': () => {
    open();
    process.on('SIGTERM', () => {
      print({ type: 'ok' });
      process.exit(0);
    });
    setImmediate(() => process.kill(process.pid, 'SIGTERM'));
    return new Promise(() => {});
  },
  'open many and forget them': () => {
    for (let i = 0; i < 8; i++) open();
    globalThis.gc?.();
    process.on('exit', () => print({ type: 'ok' }));
    process.exit(0);
  },
  'terminate a worker': async () => {
    for (let i = 0; i < 3; i++) {
      const worker = new Worker(new URL('./open-in-worker.mjs', import.meta.url), {
        workerData: kind,
      });
      await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
      await worker.terminate();
    }
  },
  'a callback that throws': () =>
    new Promise((resolve) => {
      const it = open(() => {
        throw new Error('from the callback');
      });
      process.once('uncaughtException', (error) => {
        assert.equal(error.message, 'from the callback');
        it.close();
        resolve();
      });
      provoke(it);
    }),
  'wrong arguments': () => {
    const Class = kind === 'ring' ? addon.PacketRing : addon.NetlinkSocket;
    for (const args of [[], [{}], [{}, 1], [{}, () => {}], [null, () => {}]]) {
      assert.throws(() => new Class(...args), TypeError);
    }
    assert.throws(() => Class({}, () => {}), TypeError);
    const it = open();
    if (kind === 'ring') {
      assert.throws(() => it.setFilter([1, 2]), TypeError);
      assert.throws(() => it.setFilter(new Uint32Array(0)), { code: 'EINVAL' });
      assert.throws(() => it.interfaceName('lo'), TypeError);
      assert.equal(it.interfaceName(1), 'lo');
      assert.equal(it.interfaceName(999_999), undefined);
    } else {
      assert.throws(() => it.send('text'), TypeError);
      assert.throws(() => it.request('text'), TypeError);
    }
    it.close();
  },
  'what the kernel refuses': () => {
    if (kind === 'ring') {
      assert.throws(() => ring(undefined, { blockBytes: 1000 }), {
        code: 'EINVAL',
        errno: 22,
        syscall: 'setsockopt(PACKET_RX_RING)',
      });
    } else {
      assert.throws(() => netlink(undefined, { protocol: 77 }), {
        code: 'EPROTONOSUPPORT',
        syscall: 'socket(AF_NETLINK)',
      });
      assert.throws(() => netlink(undefined, { groups: [100_000] }), { code: 'EINVAL' });
    }
  },
  'permission refused': () => {
    process.setgroups([]);
    process.setgid(65534);
    process.setuid(65534);
    const options = kind === 'ring' ? {} : { protocol: 12, groups: [1] };
    assert.throws(() => open(undefined, options), {
      code: 'EPERM',
      errno: 1,
      syscall: kind === 'ring' ? 'socket(AF_PACKET)' : 'setsockopt(NETLINK_ADD_MEMBERSHIP)',
    });
  },
};

/** Makes something come: link messages for the socket, a packet over lo for the ring. */
function provoke(it) {
  if (kind === 'netlink') {
    it.request(linkRequest(NLM_F_REQUEST | NLM_F_DUMP));
  } else {
    const socket = createSocket('udp4');
    socket.send('x', 9, '127.0.0.1', () => socket.close());
  }
}

for (const name of names) {
  assert.ok(cases[name], `no case ${name}`);
  await cases[name]();
}
print({ type: 'ok' });
