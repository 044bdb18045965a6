import type { ClusterState } from '../../correlate/cluster-state.js';
import type { OutputEvent } from '../../model/attribution.js';
import type { InputEvent } from '../../model/event.js';
import type { Interfaces } from '../../model/interfaces.js';

/** Someone beside the machine of a live run: sees its input before it does, hears what it says before it is filtered. */
export interface Witness {
  /** Once, before anything else. */
  begin(setting: WitnessSetting): void;
  /** Called for every batch: it must cost next to nothing. Used without `this`. */
  readonly take: (event: InputEvent) => void;
  hear(events: readonly OutputEvent[]): void;
  /** Nothing more will come. */
  end(): void;
}

export interface WitnessSetting {
  readonly interfaces: Interfaces;
  /** The machine's own. */
  readonly cluster: ClusterState;
  /** How the cluster calls this node, if the user said so. */
  readonly node: string | undefined;
  /** Reads the node now; resolves when what is new was given to `take`. */
  readonly readNode: () => Promise<void>;
}
