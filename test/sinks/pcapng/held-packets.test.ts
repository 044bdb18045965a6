import { describe, expect, it } from 'vitest';
import { parseAddress } from '../../../src/model/address.js';
import type { Attribution } from '../../../src/model/attribution.js';
import {
  P_DPORT,
  P_DST,
  P_FLAGS,
  P_PROTOCOL,
  P_SPORT,
  P_SRC,
  TCP,
  TCP_SYN,
} from '../../../src/model/packet.js';
import { PacketRows } from '../../../src/model/packet-rows.js';
import { HeldPackets } from '../../../src/sinks/pcapng/held-packets.js';
import { SectionWriter } from '../../../src/sinks/pcapng/section-writer.js';

interface Sent {
  readonly seconds?: number;
  readonly from?: string;
  readonly sport?: number;
  readonly to?: string;
  readonly flags?: number;
  readonly bytes?: number;
}

function setUp() {
  const writer = new SectionWriter();
  writer.interface({ linkType: 1, snapLength: 0 });
  writer.take();
  const held = new HeldPackets();
  const rows = new PacketRows(1);
  const send = ({
    seconds = 100,
    from = '10.0.0.1',
    sport = 5000,
    to = '10.96.0.1',
    flags = TCP_SYN,
    bytes = 60,
  }: Sent) => {
    rows.clear();
    const row = rows.add();
    parseAddress(from, rows.words, row + P_SRC);
    parseAddress(to, rows.words, row + P_DST);
    rows.words[row + P_SPORT] = sport;
    rows.words[row + P_DPORT] = 80;
    rows.words[row + P_PROTOCOL] = TCP;
    rows.words[row + P_FLAGS] = flags;
    const packet = {
      seconds,
      nanoseconds: 0,
      interface: 0,
      flags: 1,
      bytes: new Uint8Array(bytes),
      from: 0,
    };
    held.add({ ...packet, captured: bytes, onWire: bytes, words: rows.words, row }, writer);
  };
  /** Comments of the packets that have been written since, '' for one without. */
  const written = (): string[] => {
    const all = writer.take();
    const view = new DataView(all.buffer, all.byteOffset, all.length);
    const comments: string[] = [];
    for (let at = 0; at < all.length; at += view.getUint32(at + 4, true)) {
      const end = at + view.getUint32(at + 4, true);
      let option = at + 28 + ((view.getUint32(at + 20, true) + 3) & ~3);
      let comment = '';
      while (option < end - 4 && view.getUint16(option, true) !== 0) {
        const length = view.getUint16(option + 2, true);
        if (view.getUint16(option, true) === 1) {
          comment = new TextDecoder().decode(all.subarray(option + 4, option + 4 + length));
        }
        option += 4 + ((length + 3) & ~3);
      }
      comments.push(comment);
    }
    return comments;
  };
  return { writer, held, send, written };
}

const SAID: Attribution = {
  connection: 'abc',
  timeSource: 'packet',
  protocol: 'tcp',
  client: { ip: '10.0.0.1', port: 5000, pod: { namespace: 'shop', name: 'cli\nent' } },
  destination: { ip: '10.96.0.1', port: 80 },
  backend: { ip: '10.0.0.2', port: 80 },
  source: { ip: '192.0.2.1', port: 6000 },
  evidence: ['packets'],
  verdict: 'attributed',
  outcome: 'open',
};

describe('packets that wait', () => {
  it('bear the last word that was said of their connection, on each side of its translations', () => {
    const { writer, held, send, written } = setUp();
    send({});
    send({ to: '10.0.0.2' });
    send({ from: '192.0.2.1', sport: 6000, to: '10.0.0.2' });
    send({ sport: 5001 });
    send({ from: '10.96.0.1', to: '10.0.0.1' });
    held.say(SAID, []);
    held.say({ ...SAID, outcome: 'established' }, ['stale-conntrack-entry']);
    held.releaseAll(writer);
    const [before, bridge, after, another, answer] = written();
    expect(before).toBe(
      'whichpod connection=abc verdict=attributed outcome=established client=shop/cli?ent(10.0.0.1:5000) destination=10.96.0.1:80 backend=10.0.0.2:80 finding=stale-conntrack-entry',
    );
    expect([bridge, after]).toEqual([before, before]);
    expect([another, answer]).toEqual(['', '']);
  });

  it('are not those that are no beginning', () => {
    const { writer, held, send, written } = setUp();
    send({ flags: 0x11 });
    held.say(SAID, []);
    held.releaseAll(writer);
    expect(written()).toEqual(['']);
  });

  it('wait 1.2 s, and no longer', () => {
    const { writer, held, send, written } = setUp();
    send({});
    send({ seconds: 101, sport: 1 });
    expect(written()).toEqual([]);
    held.release(101, 200_000_000, writer);
    expect(written()).toEqual(['']);
    held.say(SAID, []);
    held.releaseAll(writer);
    expect(written()).toEqual(['']);
  });

  it('go sooner where there are very many or very large ones, all of them and in order', () => {
    const { writer, held, send, written } = setUp();
    for (let i = 0; i < 20_000; i++) send({ sport: i });
    const many = written().length;
    expect(many).toBe(20_000 - 16_384);
    for (let i = 0; i < 2_000; i++) send({ bytes: 5_000, sport: 5000 });
    held.say(SAID, []);
    held.releaseAll(writer);
    const rest = written();
    expect(many + rest.length).toBe(22_000);
    expect(rest.filter((comment) => comment !== '').length).toBe(4);
  });
});
