import type { Observable } from 'rxjs';
import type { InputEvent } from '../../model/event.js';
import { UsageError } from '../../model/problem.js';
import { type AddonLoad, loadAddon } from '../../native/binding.js';
import { captureCap } from './cap.js';
import { type CaptureOptions, captureRing } from './ring.js';

/** The values of `--backend`. */
type BackendChoice = 'auto' | 'ring' | 'cap';

export interface Capture {
  readonly backend: 'ring' | 'cap';
  /** Why it is not the ring, although `auto` would have taken that. */
  readonly fallback?: string;
  /** Cold: nothing is opened before it is subscribed to. See `captureRing` and `captureCap`. */
  readonly events: Observable<InputEvent>;
}

/** What the choice depends on, by default this process's. */
interface Machine {
  readonly platform: string;
  readonly load: () => AddonLoad;
}
const THIS_MACHINE: Machine = { platform: process.platform, load: loadAddon };

/**
 * Chooses how packets are captured: `auto` takes the ring, and cap where the addon cannot be loaded. A
 * missing permission is no reason to change: cap needs the same. Throws a UsageError off Linux and
 * where the ring was asked for and cannot be had.
 */
export function chooseCapture(
  choice: BackendChoice,
  options: CaptureOptions,
  machine: Machine = THIS_MACHINE,
): Capture {
  if (machine.platform !== 'linux') {
    throw new UsageError(
      `live capture needs Linux (packet rings, conntrack); this is ${machine.platform}. Record on the node and use: whichpod replay`,
    );
  }
  if (choice === 'cap') return { backend: 'cap', events: captureCap(options) };
  const load = machine.load();
  if (load.ok) return { backend: 'ring', events: captureRing(options) };
  if (choice === 'ring') throw new UsageError(load.reason);
  return { backend: 'cap', fallback: load.reason, events: captureCap(options) };
}
