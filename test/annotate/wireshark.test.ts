import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bytesAt, fields, NO_WIRESHARK, program, type Run, replay } from './annotated.js';
import { blocksOf, commentsOf } from './blocks.js';

const TUTORIAL = new URL('../../pcaps/tutorial', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'whichpod-annotate-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface End {
  readonly ip: string;
  readonly port: number;
  readonly pod?: { readonly namespace: string; readonly name: string };
}

interface Closed {
  readonly type: string;
  readonly connection: string;
  readonly client: End;
  readonly destination: End;
  readonly backend: End;
  readonly outcome: string;
}

describe("the tutorial's capture, annotated", () => {
  const path = join(folder, 'annotated.pcapng');
  let run: Run;
  let closed: Closed[];

  beforeAll(async () => {
    run = await replay(TUTORIAL, '-w', path);
    closed = run.stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line): Closed => JSON.parse(line))
      .filter(({ type }) => type === 'close');
  });

  it('changes nothing of what replay says', async () => {
    const plain = await replay(TUTORIAL);
    expect(run.code).toBe(0);
    expect(run.stdout).toBe(plain.stdout);
    expect(run.stderr.replace(`${path}: 428 packets, 48 with a comment; `, '')).toBe(
      `${plain.stderr}in Wireshark: frame.comment contains "connection=ID"\n`,
    );
    expect(closed).toHaveLength(12);
  });

  it('says of each connection in its comment what the attribution says', () => {
    const texts = [...commentsOf(blocksOf(bytesAt(path))).values()].flat();
    for (const { connection, outcome, client, backend } of closed) {
      const own = texts.filter((text) => text.startsWith(`whichpod connection=${connection} `));
      expect(own).toHaveLength(4);
      expect(new Set(own).size).toBe(1);
      expect(own[0]).toContain(` verdict=attributed outcome=${outcome} service=default/nginx `);
      expect(own[0]).toContain(` client=default/client(${client.ip}:${client.port}) `);
      expect(own[0]).toContain(` backend=default/${backend.pod?.name}(${backend.ip}:80) `);
    }
  });

  it.skipIf(NO_WIRESHARK)('finds both sides of a connection by its key in stock tshark', () => {
    const columns = ['frame.number', 'ip.src', 'tcp.srcport', 'ip.dst', 'tcp.dstport', 'tcp.flags'];
    const all = fields(path, 'tcp.flags.syn == 1', columns);
    for (const { connection, client, destination, backend } of closed) {
      const ends = [destination, backend].map(({ ip, port }) => `${ip} ${port}`);
      const expected = all.filter(([, src, sport, dst, dport]) => {
        const forward = src === client.ip && sport === String(client.port);
        return forward
          ? ends.includes(`${dst} ${dport}`)
          : dst === client.ip && dport === String(client.port) && ends.includes(`${src} ${sport}`);
      });
      expect(fields(path, `frame.comment contains "connection=${connection}"`, columns)).toEqual(
        expected,
      );
      // A SYN and its answer, before translation and after.
      expect(expected).toHaveLength(4);
    }
  });

  it.skipIf(NO_WIRESHARK)('shows names of Pods and Services in stock tshark', () => {
    const shown = new Set(
      fields(path, 'frame.comment', ['ip.src', 'ip.src_host']).map((row) => row.join(' ')),
    );
    for (const { client, destination, backend } of closed) {
      expect(shown).toContain(`${client.ip} client.default.pod`);
      expect(shown).toContain(`${destination.ip} nginx.default.svc`);
      expect(shown).toContain(`${backend.ip} ${backend.pod?.name}.default.pod`);
    }
  });

  it.skipIf(NO_WIRESHARK)('is found by each filter that the documents give', () => {
    const formats = readFileSync(new URL('../../docs/formats.md', import.meta.url), 'utf8');
    const rows = formats.split('\n').filter((line) => line.startsWith('|'));
    const filters = rows.flatMap((row) =>
      [...row.matchAll(/`(frame\.comment[^`]*)`/g)].map(([, filter = '']) => filter),
    );
    expect(filters).toHaveLength(5);
    const found = filters.map((filter) => fields(path, filter, ['frame.number']).length);
    // What is not there in this capture is found in none of its packets.
    expect(found).toEqual([4, 48, 20, 0, 0]);
  });

  it.skipIf(NO_WIRESHARK)('is read by capinfos without a word', () => {
    const info = program('capinfos', '-c', '-M', path);
    expect(info).toMatchObject({ code: 0, stderr: '' });
    expect(info.stdout).toMatch(/Number of packets: +428\n/);
  });

  it.skipIf(NO_WIRESHARK)('is read by tcpdump, which refuses the capture itself', () => {
    // Dumpcap's -s behind an -i holds for that one alone, and libpcap wants one snap length.
    const source = join(TUTORIAL, 'capture.pcapng');
    expect(program('tcpdump', '-n', '-r', source).stderr).toContain(
      'snapshot length 128 different',
    );
    const { code, stdout, stderr } = program('tcpdump', '-n', '-r', path);
    expect(code).toBe(0);
    expect(stderr.split('\n')).toHaveLength(1);
    expect(stdout.trimEnd().split('\n')).toHaveLength(428);
    const remarks = blocksOf(bytesAt(path))
      .filter(({ type }) => type === 1)
      .map(({ options }) =>
        options
          .filter(({ code }) => code === 1)
          .map(({ value }) => new TextDecoder().decode(value)),
      );
    expect(remarks).toEqual([[], [], [], [], ['recorded with a snap length of 128']]);
  });

  it('gets no second comment of the same words when it is annotated again', async () => {
    const again = join(folder, 'again.pcapng');
    const context = ['api', 'conntrack-events.txt', 'iptables-save.txt', 'net'];
    const { code, stderr } = await replay(
      path,
      ...context.map((name) => join(TUTORIAL, name)),
      '-w',
      again,
    );
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(commentsOf(blocksOf(bytesAt(again)))).toEqual(commentsOf(blocksOf(bytesAt(path))));
  });
});
