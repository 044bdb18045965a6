import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { interruption } from '../../src/cli/interruption.js';

describe('an interruption', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'disconnect'])(
    'by %s asks for a clean end once, then ends at once',
    (name) => {
      const process = new EventEmitter();
      let now = 1000;
      let exits = 0;
      const signal = interruption(
        process,
        () => exits++,
        () => now,
      );
      expect(signal.aborted).toBe(false);
      process.emit(name);
      expect([signal.aborted, exits]).toEqual([true, 0]);
      now += 300;
      process.emit(name);
      expect(exits, 'the same key press, told twice').toBe(0);
      now += 1;
      process.emit('SIGINT');
      expect(exits).toBe(1);
    },
  );
});
