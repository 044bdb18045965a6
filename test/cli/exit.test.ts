import { describe, expect, it } from 'vitest';
import { explainError } from '../../src/cli/exit.js';
import { exitCodeFor } from '../../src/cli/fail-on.js';
import { PermissionError, UsageError } from '../../src/model/problem.js';
import { SUMMARY } from '../sinks/events.js';

describe('errors end the program', () => {
  it.each([
    ['wrong usage with 2', new UsageError('a: is wrong;\n  write b'), 2, 'a: is wrong; write b'],
    [
      'a missing permission with 3',
      new PermissionError('needs CAP_NET_RAW'),
      3,
      'needs CAP_NET_RAW',
    ],
    [
      'a fault with 70',
      new TypeError('x is undefined'),
      70,
      'unexpected error: x is undefined (this is a fault in whichpod; -v shows where)',
    ],
    ['something that is no error with 70', 'text', 70, 'unexpected error: text'],
  ])('%s', (_, error, code, text) => {
    expect(explainError(error, false)).toEqual({ code, text });
  });

  it('shows where a fault is if asked', () => {
    const { text } = explainError(new TypeError('x'), true);
    expect(text).toMatch(/^unexpected error: TypeError: x\n\s+at .*exit\.test\.ts/);
  });
});

describe('--fail-on', () => {
  const clean = {
    ...SUMMARY,
    losses: 0,
    connections: { ...SUMMARY.connections, unattributed: 0, conflict: 0 },
  };
  it.each([
    ['nothing asked for', SUMMARY, [], 0],
    ['everything asked for and nothing found', clean, ['conflict', 'unattributed', 'loss'], 0],
    [
      'a conflict',
      { ...clean, connections: { ...clean.connections, conflict: 1 } },
      ['conflict'],
      1,
    ],
    [
      'an unattributed one',
      { ...clean, connections: { ...clean.connections, unattributed: 1 } },
      ['unattributed'],
      1,
    ],
    ['a loss', { ...clean, losses: 1 }, ['conflict', 'loss'], 1],
    ['a loss that was not asked for', { ...clean, losses: 1 }, ['conflict'], 0],
  ] as const)('%s', (_, summary, failOn, expected) => {
    expect(exitCodeFor(summary, failOn)).toBe(expected);
  });
});
