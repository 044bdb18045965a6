import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Attribution, Backend, OutputEvent, Peer } from '../../src/model/attribution.js';
import { formatNanos, type Nanos } from '../../src/model/time.js';
import { createSink } from '../../src/sinks/create-sink.js';
import {
  anyEvent,
  attribution,
  close,
  HOSTILE,
  NGINX,
  START,
  streams,
  summary,
  UNKNOWN,
} from './events.js';

async function written(events: readonly OutputEvent[]): Promise<string[]> {
  const to = streams();
  const sink = await createSink('ndjson', to);
  sink.write(events);
  await sink.end();
  return to.stdout.lines;
}

/** The documented form by the plain road: an object in the documented order, without what is not known. */
function reference(event: OutputEvent): string {
  const at = (t: Nanos | undefined) => (t === undefined ? undefined : formatNanos(t));
  const peer = (p: Peer | Backend | undefined) =>
    p && {
      ip: p.ip,
      port: p.port,
      pod: p.pod && {
        namespace: must(p.pod.namespace),
        name: must(p.pod.name),
        uid: p.pod.uid,
        node: p.pod.node,
      },
      node: p.node,
      hostNetwork: 'hostNetwork' in p ? p.hostNetwork : undefined,
    };
  const connection = (a: Attribution) => ({
    connection: a.connection,
    time: at(a.time),
    timeSource: a.timeSource,
    timeUncertaintyNs: a.timeUncertaintyNs,
    protocol: a.protocol,
    zone: a.zone,
    client: peer(a.client),
    destination: { ip: a.destination.ip, port: a.destination.port },
    service: a.service && {
      namespace: a.service.namespace,
      name: a.service.name,
      portName: a.service.portName,
      via: a.service.via,
    },
    backend: peer(a.backend),
    source: a.source && { ip: a.source.ip, port: a.source.port },
    rules: a.rules && {
      mode: a.rules.mode,
      backend: a.rules.backend,
      path: a.rules.path.map(must),
      probability: a.rules.probability,
      affinity: a.rules.affinity,
    },
    interfaces: some({ in: a.interfaces?.in, out: a.interfaces?.out }),
    evidence: a.evidence,
    verdict: a.verdict,
    reason: a.reason,
    outcome: a.outcome,
    claims: a.claims?.length
      ? a.claims.map((c) => ({ evidence: c.evidence, backend: peer(c.backend) }))
      : undefined,
    latency: some({ natNs: a.latency?.natNs, handshakeNs: a.latency?.handshakeNs }),
    retransmits: a.retransmits,
    endTime: at(a.endTime),
    original: some({ packets: a.original?.packets, bytes: a.original?.bytes }),
    reply: some({ packets: a.reply?.packets, bytes: a.reply?.bytes }),
  });
  const body = (): object => {
    switch (event.type) {
      case 'attribution':
      case 'close':
        return connection(event.attribution);
      case 'direct':
        return {
          connection: event.direct.connection,
          time: at(event.direct.time),
          protocol: event.direct.protocol,
          client: peer(event.direct.client),
          backend: peer(event.direct.backend),
          outcome: event.direct.outcome,
          candidates: event.direct.candidates,
        };
      case 'loss':
        return {
          ...pick(event.loss, ['source', 'count']),
          from: at(event.loss.from),
          to: at(event.loss.to),
          detail: event.loss.detail,
        };
      case 'notice':
        return {
          code: must(event.notice.code),
          time: at(event.notice.time),
          ...pick(event.notice, ['connection', 'detail']),
        };
      case 'summary':
        return pick(event.summary, [
          'connections',
          'packets',
          'losses',
          'durationNs',
          'direct',
          'other',
          'existing',
        ]);
    }
  };
  const known = (_: string, value: unknown) =>
    value === '' || (typeof value === 'number' && !Number.isFinite(value))
      ? undefined
      : value instanceof Must
        ? value.text
        : value;
  return JSON.stringify({ schema: 'whichpod/1', type: event.type, ...body() }, known);
}

/** Text that is part of a thing's identity and therefore written even if it is empty. */
class Must {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
const must = (value: string) => new Must(value);
const isKnown = (v: unknown) => v !== undefined && v !== '' && !Number.isNaN(v);
const some = (it: object) => (Object.values(it).some(isKnown) ? it : undefined);
const pick = <T extends object, K extends keyof T>(it: T, keys: readonly K[]) =>
  Object.fromEntries(keys.map((key) => [key, it[key]]));

describe('NDJSON', () => {
  it('writes the documented fields in the documented order', async () => {
    expect(await written([attribution()])).toEqual([
      '{"schema":"whichpod/1","type":"attribution","connection":"tcp-0001",' +
        '"time":"2026-11-22T19:55:00.200100123Z","timeSource":"packet","protocol":"tcp",' +
        '"client":{"ip":"10.44.0.9","port":36033,"pod":{"namespace":"default","name":"client","uid":"c1","node":"node01"},"node":"node01"},' +
        '"destination":{"ip":"10.111.248.8","port":80},' +
        '"service":{"namespace":"default","name":"nginx","portName":"http","via":"clusterIP"},' +
        '"backend":{"ip":"10.44.0.1","port":80,"pod":{"namespace":"default","name":"nginx-86c57db685-vskrb","uid":"p1","node":"node01"},"node":"node01","hostNetwork":false},' +
        '"source":{"ip":"192.168.77.11","port":61371},' +
        '"rules":{"mode":"iptables","backend":"nft","path":["KUBE-SERVICES","KUBE-SVC-4N57TFCL4MD7ZTDA","KUBE-SEP-RNUA2WF32F4IZIFK"],"probability":0.25,"affinity":false},' +
        '"interfaces":{"in":"vethc1","out":"vethp1"},' +
        '"evidence":["conntrack","packets","rules","cluster"],"verdict":"attributed","outcome":"established",' +
        '"latency":{"natNs":21000,"handshakeNs":310000}}',
    ]);
  });

  it('leaves out what is not known', async () => {
    expect(await written([{ type: 'attribution', attribution: UNKNOWN }])).toEqual([
      '{"schema":"whichpod/1","type":"attribution","connection":"udp-0002","timeSource":"listing","protocol":"udp",' +
        '"client":{"ip":"fd00:10:244:1::2","port":5353},"destination":{"ip":"fd00:10:96::a","port":53},' +
        '"evidence":[],"verdict":"unattributed","reason":"no-evidence","outcome":"open"}',
    ]);
  });

  it('writes losses, notices, closes and the summary', async () => {
    const from = START;
    expect(
      await written([
        {
          type: 'loss',
          loss: { source: 'ring', count: 7, from, to: from + 1n, detail: 'dropped' },
        },
        { type: 'loss', loss: { source: 'file', count: 1, detail: 'cut short' } },
        {
          type: 'notice',
          notice: { code: 'pod-gone', time: from, connection: 'tcp-0001', detail: 'x' },
        },
        close({ retransmits: 0, original: { packets: 5, bytes: 600 } }),
        summary(),
      ]),
    ).toEqual([
      '{"schema":"whichpod/1","type":"loss","source":"ring","count":7,"from":"2026-11-22T19:55:00.200100123Z","to":"2026-11-22T19:55:00.200100124Z","detail":"dropped"}',
      '{"schema":"whichpod/1","type":"loss","source":"file","count":1,"detail":"cut short"}',
      '{"schema":"whichpod/1","type":"notice","code":"pod-gone","time":"2026-11-22T19:55:00.200100123Z","connection":"tcp-0001","detail":"x"}',
      expect.stringMatching(
        /"retransmits":0,"endTime":"2026-11-22T19:55:01.200100123Z","original":\{"packets":5,"bytes":600\}\}$/,
      ),
      '{"schema":"whichpod/1","type":"summary","connections":{"seen":2000,"attributed":1990,"unattributed":8,"conflict":2,"pending":0,' +
        '"reasons":{"no-endpoints":6,"no-evidence":2,"packets-disagree":2},"outcomes":{"established":1980,"refused":12,"unanswered":8}},' +
        '"packets":{"seen":12345,"dropped":0},"losses":1,"durationNs":30200000000,"direct":12,"other":3,"existing":4}',
    ]);
  });

  it('says for every event exactly what JSON.stringify says of it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyEvent, { maxLength: 8 }), async (events) => {
        const lines = await written(events);
        expect(lines.map((line) => JSON.stringify(JSON.parse(line)))).toEqual(
          events.map(reference),
        );
      }),
      { numRuns: 300 },
    );
  });

  it('keeps times right whatever second the event before was in', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.bigInt({ min: 0n, max: 3_000_000_000n }), { minLength: 1, maxLength: 20 }),
        async (offsets) => {
          const lines = await written(offsets.map((o) => attribution({ time: START + o })));
          expect(lines.map((line) => JSON.parse(line).time)).toEqual(
            offsets.map((o) => formatNanos(START + o)),
          );
        },
      ),
      { numRuns: 100 },
    );
  });

  it.each(HOSTILE)(
    'writes %j so that no terminal obeys it and every reader gets it back',
    async (name) => {
      const pod = { namespace: 'default', name };
      const [line = ''] = await written([
        attribution({ backend: { ip: '10.0.0.1', port: 1, pod } }),
      ]);
      expect(line).not.toMatch(/[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}\p{Cs}]/u);
      expect(JSON.parse(line).backend.pod.name).toBe(name);
    },
  );

  it('leaves what it handed on as it is, however much and however long the lines after it are', async () => {
    const to = streams();
    const sink = await createSink('ndjson', to);
    const events = Array.from({ length: 400 }, (_, i): OutputEvent => {
      const detail = 'ä'.repeat(i % 40 === 39 ? 100_000 : i);
      return i % 3 === 0 ? attribution() : { type: 'notice', notice: { code: `n${i}`, detail } };
    });
    for (const event of events) sink.write([event]);
    await sink.end();
    expect(to.stdout.lines).toEqual(events.map(reference));
  });

  it('writes an object again after it was written once, also when a look-alike follows', async () => {
    const other = { ...NGINX.client, pod: { namespace: 'default', name: 'other' } };
    const lines = await written([attribution(), attribution({ client: other }), attribution()]);
    expect(lines.map((line) => JSON.parse(line).client.pod.name)).toEqual([
      'client',
      'other',
      'client',
    ]);
  });
});
