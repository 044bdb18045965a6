import { describe, expect, test } from 'vitest';
import { parseAddress } from '../../src/model/address.js';
import { type ClientPlace, isOpenTo } from '../../src/model/clients.js';
import type { ClientCondition } from '../../src/model/services.js';

function at(ip: string, local?: boolean, seenOn?: string): ClientPlace {
  const words = new Uint32Array(6);
  if (parseAddress(ip, words, 2) === 0) throw new Error(ip);
  return { words, at: 2, local, interface: seenOn };
}

const within = (network: string, negated = false): ClientCondition => ({
  is: 'network',
  network,
  negated,
});
const own = (negated = false): ClientCondition => ({ is: 'local', negated });
const by = (name: string, negated = false): ClientCondition => ({ is: 'interface', name, negated });

describe('one condition', () => {
  test.each([
    ['a network', within('10.244.0.0/16'), at('10.244.9.1'), true],
    ['another network', within('10.244.0.0/16'), at('10.245.0.1'), false],
    ['not a network', within('10.244.0.0/16', true), at('10.245.0.1'), true],
    ['one address', within('192.0.2.7'), at('192.0.2.7'), true],
    ['every address', within('0.0.0.0/0'), at('192.0.2.7'), true],
    ['every address of the other family', within('0.0.0.0/0'), at('fd00::1'), false],
    ['a network of IPv6', within('fd00:10:244::/56'), at('fd00:10:244:99::1'), true],
    ['a bit beyond it', within('fd00:10:244::/56'), at('fd00:10:244:100::1'), false],
    ['a mask with holes', within('10.0.0.0/255.0.255.0'), at('10.0.0.1'), undefined],
    ['a prefix that is too long', within('10.0.0.0/33'), at('10.0.0.1'), undefined],
    ['the node itself', own(), at('192.0.2.1', true), true],
    ['not the node itself', own(true), at('192.0.2.1', true), false],
    ['the node, whose addresses are not known', own(), at('192.0.2.1'), undefined],
    ['an interface', by('cni0'), at('10.244.0.1', false, 'cni0'), true],
    ['a longer name', by('cni0'), at('10.244.0.1', false, 'cni01'), false],
    ['the beginning of a name', by('cali+'), at('10.244.0.1', false, 'cali9'), true],
    ['an interface that was not seen', by('cali+'), at('10.244.0.1', false), undefined],
    ['a local client, which comes in by none', by('cali+'), at('192.0.2.1', true), false],
    ['nor by that one', by('cali+', true), at('192.0.2.1', true), true],
  ])('%s', (_, condition, place, expected) => {
    expect(isOpenTo([[condition]], place)).toBe(expected);
  });
});

describe('several', () => {
  const pod = at('10.244.1.1', false);
  const unknown = own();
  const place = at('10.244.1.1');
  test.each([
    ['no conditions', undefined, pod, true],
    ['no list', [], pod, false],
    ['an empty list', [[]], pod, true],
    ['all of a list', [[within('10.0.0.0/8'), own(true)]], pod, true],
    ['one of a list fails', [[within('10.0.0.0/8'), own()]], pod, false],
    ['one of two lists', [[own()], [within('10.0.0.0/8')]], pod, true],
    ['none of two lists', [[own()], [within('11.0.0.0/8')]], pod, false],
    ['not known', [[unknown]], place, undefined],
    ['not known, and another fails', [[unknown, within('11.0.0.0/8')]], place, false],
    ['not known, or another holds', [[unknown], [within('10.0.0.0/8')]], place, true],
    ['not known, or another fails', [[unknown], [within('11.0.0.0/8')]], place, undefined],
  ])('%s', (_, clients, who, expected) => {
    expect(isOpenTo(clients, who)).toBe(expected);
  });
});
