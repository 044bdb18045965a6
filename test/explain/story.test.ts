import { describe, expect, it } from 'vitest';
import { explainCase } from '../../src/explain/explain.js';
import { tellStory } from '../../src/explain/story.js';
import { exploreWalk } from '../../src/explain/walk/explore.js';
import type { Case, SeenEntry } from '../../src/model/case.js';
import type { Story, StoryLine } from '../../src/model/story.js';
import { casesOf } from '../support/case.js';

const cases = await casesOf('test/explain/data/faults', undefined, { node: 'node1' });
const bypassed = await casesOf('test/explain/data/bypassed', undefined, { node: 'node1' });

function caseOf(service: string, client?: string, all = cases): Case {
  const found = all.find(
    ({ attribution: it }) =>
      it.service?.name === service && (client === undefined || it.client.ip === client),
  );
  if (found === undefined) throw new Error(`no connection to ${service}`);
  return found;
}

const whats = (story: Story): string[] => story.lines.map(({ what }) => what);
/** `client: SYN`. */
const placed = (story: Story): string[] =>
  story.lines.map(({ place, what }) => `${story.places[place]?.role}: ${what}`);

function lineOf(story: Story, what: RegExp): StoryLine {
  const line = story.lines.find((one) => what.test(one.what));
  if (line === undefined) throw new Error(`${what} is not in ${whats(story).join(', ')}`);
  return line;
}

describe('the story of a connection', () => {
  it('goes from place to place in the order of the packet’s way', () => {
    const one = caseOf('web', '10.244.1.5');
    const story = tellStory(one);
    expect(story.places.map(({ role, of }) => `${role} ${of ?? ''}`.trim())).toEqual([
      'client shop/client',
      'nat',
      `backend ${one.attribution.backend?.pod?.namespace}/${one.attribution.backend?.pod?.name}`,
    ]);
    const { ip, port } = one.attribution.backend ?? one.attribution.client;
    expect(placed(story).slice(0, 6)).toEqual([
      'client: SYN',
      `nat: NEW → ${ip}:${port}`,
      'backend: SYN, translated',
      'backend: SYN-ACK',
      'nat: UPDATE SYN_RECV',
      'client: SYN-ACK, translated back',
    ]);
    expect(story.lines[0]).toMatchObject({ sinceNs: 0, way: 'forward', bad: false });
    expect(story.lines.every(({ bad }) => !bad)).toBe(true);
  });

  it.each([
    ['mute', /^SYN again$/, true],
    ['rerolled', /^SYN again, to another endpoint than 10\.244\.1\.3:2020, translated$/, true],
    ['answer-lost', /^SYN-ACK again$/, true],
    ['refuses', /^RST by the Pod, translated back$/, true],
    ['client-resets', /^RST by the client$/, true],
    ['node-resets', /^RST by this node, translated back$/, true],
    ['rejected', /^ICMP port unreachable$/, true],
    ['flushed', /^DESTROY, by a program$/, true],
    ['flushed', /^RST by the client to the endpoint’s own address$/, true],
    ['web', /^UPDATE ESTABLISHED$/, false],
    ['web', /^FIN, translated/, false],
  ])('of %s has a line %s', (service, what, bad) => {
    expect(lineOf(tellStory(caseOf(service)), what).bad).toBe(bad);
  });

  it('shows an answer that nothing translated back, at the client', () => {
    const story = tellStory(caseOf('web', '10.244.1.6', bypassed));
    const line = lineOf(story, /^SYN-ACK, not translated back$/);
    expect(story.places[line.place]?.role).toBe('client');
    expect(line.bad).toBe(true);
    expect(story.places.map(({ role }) => role)).toEqual(['client', 'nat', 'bridge', 'backend']);
  });

  it('calls nothing translated back that was never translated', () => {
    const { podInterfaces: _known, ...one } = caseOf('refuses');
    const { backend: _backend, ...attribution } = one.attribution;
    const own: Case = {
      ...one,
      attribution,
      conntrack: [],
      packets: one.packets.filter(({ view }) => view === 'original'),
    };
    expect(whats(tellStory(one)).join()).toContain('RST by the Pod, translated back');
    expect(whats(tellStory(own))).toEqual(['SYN', 'RST by this node']);
  });

  it('begins at the uplink for a client from outside', () => {
    const story = tellStory(caseOf('web', '192.168.77.1'));
    expect(story.places.map(({ role, name }) => `${role} ${name.replace(/\w{8}$/, '')}`)).toEqual([
      'uplink eth0',
      'nat c',
      'backend veth',
    ]);
    expect(lineOf(story, /^NEW/).detail).toMatch(/the endpoint sees 10\.244\.1\.1:/);
  });

  it('tells many datagrams in one line for each place and way', () => {
    const story = tellStory(caseOf('dns'));
    const more = story.lines.filter(({ what }) => /^\d+ more datagrams/.test(what));
    expect(more.length).toBe(4);
    expect(more[0]?.detail).toMatch(/^over .* s, /);
    expect(story.lines.length).toBeLessThan(25);
  });

  it('has changes of endpoints and rules, and losses, in a column of their own', () => {
    const one = cases.find(
      ({ attribution: it }) => it.service?.name === 'leaves' && it.backend?.ip === '10.244.1.2',
    );
    if (one === undefined) throw new Error('no connection');
    const from = (one.attribution.time ?? 0n) + 5_000n;
    const loss = {
      source: 'ring',
      count: 3,
      from,
      to: from + 9_000_000n,
      detail: 'it was full',
    } as const;
    const story = tellStory({ ...one, losses: [loss] });
    const { place } = lineOf(story, /^endpoints changed$/);
    expect(story.places[place]?.role).toBe('cluster');
    expect(lineOf(story, /^endpoints changed$/).bad).toBe(true);
    expect(lineOf(story, /^lost: 3 of ring$/)).toMatchObject({ place, sinceNs: 5_000, bad: true });
  });

  it('never invents an order that whole seconds do not give', () => {
    const one = caseOf('web', '10.244.1.5');
    const coarse = (entry: SeenEntry): SeenEntry => ({
      ...entry,
      ...(entry.time !== undefined && { time: (entry.time / 1_000_000_000n) * 1_000_000_000n }),
      resolutionNs: 1_000_000_000,
      latenessNs: 10_000_000,
    });
    const story = tellStory({ ...one, conntrack: one.conntrack.map(coarse) });
    const order = whats(story);
    // Held between its cause and the packet that left, whatever its second says.
    expect(order.indexOf('SYN')).toBe(0);
    expect(order.findIndex((what) => what.startsWith('NEW'))).toBe(1);
    expect(lineOf(story, /^NEW/).uncertaintyNs).toBeUndefined();
    // Nothing holds this one from behind.
    const established = lineOf(story, /^UPDATE ESTABLISHED$/);
    expect(established.uncertaintyNs).toBeGreaterThan(1_000_000);
    expect(established.detail).toMatch(/in no known order to the lines of that time/);
    const conntrack = story.lines.filter(({ place }) => story.places[place]?.role === 'nat');
    expect(
      conntrack.map(({ what }) => what.split(' ').slice(0, 2).join(' ').replace(/ →$/, '')),
    ).toEqual(
      tellStory(one)
        .lines.filter(({ place }) => story.places[place]?.role === 'nat')
        .map(({ what }) => what.split(' ').slice(0, 2).join(' ').replace(/ →$/, '')),
    );
  });

  it('of nothing has no lines', () => {
    const { time: _, ...attribution } = caseOf('web').attribution;
    const empty: Case = {
      ...caseOf('web'),
      attribution,
      packets: [],
      conntrack: [],
      changes: [],
      losses: [],
    };
    expect(tellStory(empty).lines).toEqual([]);
    expect(tellStory(empty).begin).toBeUndefined();
  });

  it.each(
    cases.map(
      (one) =>
        [`${one.attribution.service?.name} from ${one.attribution.client.port}`, one] as const,
    ),
  )('of %s keeps exact times in order and points to places that are there', (_, one) => {
    const { places, lines } = tellStory(one);
    const exact = lines.flatMap(({ sinceNs, uncertaintyNs }) =>
      sinceNs === undefined || uncertaintyNs !== undefined ? [] : [sinceNs],
    );
    expect(exact).toEqual([...exact].sort((a, b) => a - b));
    expect(lines.every(({ place }) => places[place] !== undefined)).toBe(true);
    expect(new Set(places.map(({ name }) => name)).size).toBe(places.length);
  });
});

describe('the views of an explanation', () => {
  it('end at one endpoint, whatever went wrong', () => {
    for (const one of [...cases, ...bypassed]) {
      const { walk, findings, attribution } = explainCase(one, exploreWalk);
      expect(findings.map(({ code }) => code)).not.toContain('views-disagree');
      if (attribution?.backend === undefined) continue;
      expect(walk?.taken).toMatchObject({
        ip: attribution.backend.ip,
        port: attribution.backend.port,
      });
      expect(walk?.knownBy.join()).toMatch(/reply tuple/);
    }
  });

  it('say what had no part in them, and what was lost', () => {
    const one = caseOf('web');
    const { remarks } = explainCase(
      {
        ...one,
        closed: false,
        looked: { ...one.looked, cluster: false },
        losses: [{ source: 'netlink', count: 1, detail: 'its buffer was full' }],
      },
      exploreWalk,
    );
    expect(remarks).toEqual([
      'the cluster had no part in this: nothing of that kind was looked at',
      '1 loss of netlink may hide a part of it: its buffer was full',
      'it had not ended when this was said',
    ]);
  });
});
