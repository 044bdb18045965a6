import { describe, expect, it } from 'vitest';
import {
  type ExplainFlags,
  type ExplainRequest,
  explainRequest,
} from '../../src/cli/explain/request.js';
import { UsageError } from '../../src/model/problem.js';

const AROUND = { terminal: { stdout: false, stderr: false }, env: {} };

function requested(words: readonly string[], flags: Partial<ExplainFlags> = {}): ExplainRequest {
  return explainRequest(words, { cluster: true, color: true, ...flags }, AROUND);
}

describe('which connection is meant', () => {
  it.each<[string, string[], Partial<ExplainFlags>, object]>([
    ['an id', ['9A1C5B7E00D1F2A3'], {}, { id: '9a1c5b7e00d1f2a3' }],
    ['a client', ['10.244.1.2:36033'], {}, { client: { ip: '10.244.1.2', port: 36_033 } }],
    [
      'a client of IPv6, in whatever spelling',
      ['[FD00:0::2]:36033'],
      {},
      { client: { ip: 'fd00::2', port: 36_033 } },
    ],
    ['an address alone', [], { from: 'fd00::2' }, { client: { ip: 'fd00::2' } }],
    ['a client with its port', [], { from: '10.0.0.1:5' }, { client: { ip: '10.0.0.1', port: 5 } }],
    [
      'a Pod and a Service',
      [],
      { from: 'shop/cart-0', to: 'shop/db' },
      { client: { namespace: 'shop', name: 'cart-0' }, to: { namespace: 'shop', name: 'db' } },
    ],
    [
      'a Service’s address',
      [],
      { to: '[fd00::a]:80', nth: '3' },
      { to: { ip: 'fd00::a', port: 80 }, nth: 3 },
    ],
    [
      'a client and where it went',
      ['10.0.0.1:5'],
      { to: 'shop/db' },
      { client: { ip: '10.0.0.1', port: 5 }, to: { namespace: 'shop', name: 'db' } },
    ],
  ])('by %s', (_, words, flags, selector) => {
    const { question, inputs } = requested([...words, 'recording/'], flags);
    expect(question).toMatchObject({ kind: 'connection', selector });
    expect(inputs).toEqual([{ path: 'recording/' }]);
  });

  it('is told in the words that were typed', () => {
    const { question } = requested(['10.0.0.1:5'], { to: 'shop/db' });
    expect(question).toMatchObject({ selector: { text: '10.0.0.1:5 to shop/db' } });
  });

  it.each<[string, string[], Partial<ExplainFlags>, RegExp]>([
    ['nothing', [], {}, /which connection\?/],
    ['a path alone', ['recording/'], {}, /'recording\/' is no connection/],
    ['half an id', ['9a1c5b7e'], {}, /is no connection/],
    ['an address of IPv6 without brackets', ['fd00::2:36033'], {}, /is no connection/],
    ['a port too high', ['10.0.0.1:65536'], {}, /is no connection/],
    ['port 0', ['10.0.0.1:0'], {}, /is no connection/],
    ['an address that is none', ['10.0.0.256:80'], {}, /is no connection/],
    ['two clients', ['10.0.0.1:5'], { from: '10.0.0.1' }, /names the client already/],
    ['a client that is none', [], { from: 'nonsense' }, /--from: 'nonsense' is no client/],
    ['a path for a client', [], { from: './a/b' }, /is no client/],
    ['an address without a port', [], { to: '10.0.0.1' }, /--to: '10.0.0.1' is no Service/],
    ['number 0', ['10.0.0.1:5'], { nth: '0' }, /--nth: '0' is no count/],
    ['--in without a packet', ['10.0.0.1:5'], { in: 'eth0' }, /--in: .* belongs to --what-if/],
    ['a Pod without a Service', [], { whyNot: 'shop/web-1' }, /add --to/],
    ['a packet without a destination', ['10.0.0.1'], { whatIf: 'tcp' }, /is no packet/],
    [
      'a packet that happened',
      ['10.0.0.1', '10.0.0.2:80'],
      { whatIf: 'tcp', next: true },
      /--next: does not go with --what-if/,
    ],
    ['both ways in', ['a', 'b'], { whatIf: 'tcp', in: 'eth0', fromNode: true }, /--from-node/],
    ['an empty path', ['10.0.0.1:5', ''], {}, /a path is empty/],
    ['an empty file', ['10.0.0.1:5'], { write: '' }, /-w: the path is empty/],
    ['a format that is none', ['10.0.0.1:5'], { output: 'png' }, /-o: 'png' is not known/],
    ['two nodes', ['10.0.0.1:5'], { node: ['a', 'b'] }, /cannot both be/],
  ])('is not said by %s', (_, words, flags, why) => {
    expect(() => requested(words, flags)).toThrow(UsageError);
    expect(() => requested(words, flags)).toThrow(why);
  });
});

describe('a packet that nobody sent', () => {
  it.each<[string, string[], string]>([
    ['as three words', ['10.0.0.1', '10.96.0.1:80', 'rules.txt'], 'tcp'],
    ['as one', ['rules.txt'], 'tcp 10.0.0.1  10.96.0.1:80'],
  ])('is taken %s', (_, words, whatIf) => {
    const { question, inputs } = requested(words, { whatIf, in: 'eth0' });
    expect(question).toEqual({
      kind: 'what-if',
      protocol: 'tcp',
      source: '10.0.0.1',
      destination: '10.96.0.1:80',
      interface: 'eth0',
      fromNode: false,
    });
    expect(inputs).toEqual([{ path: 'rules.txt' }]);
  });
});

describe('the output', () => {
  it.each([
    [{}, 'text'],
    [{ write: 'walk.svg' }, 'svg'],
    [{ write: 'a.b/walk' }, 'text'],
    [{ write: 'walk.svg', output: 'dot' }, 'dot'],
  ])('of %j is %s', (flags, format) => {
    expect(requested(['10.0.0.1:5'], flags).output.format).toBe(format);
  });
});
