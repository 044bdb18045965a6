import { describe, expect, it } from 'vitest';
import { openSink } from '../../src/cli/open-sink.js';
import { attribution } from '../sinks/events.js';
import { fakeIo } from './fake-io.js';

describe('the sink of a command', () => {
  it.each([
    ['colours a terminal', true, true, true],
    ['never colours a pipe', true, false, false],
    ['colours nothing if that is forbidden', false, true, false],
  ])('%s', async (_, colors, terminal, expected) => {
    const io = fakeIo({ terminal: { stdout: terminal, stderr: terminal }, columns: () => 80 });
    const sink = await openSink({ format: 'table', colors, verbose: false }, io, 'wait');
    sink.write([attribution(), { type: 'notice', notice: { code: 'x', detail: 'y' } }]);
    await sink.end();
    expect(io.stdout.text.includes('\u001b[')).toBe(expected);
    expect(io.stderr.text.includes('\u001b[')).toBe(expected);
  });
});
