import type { InputFile } from './expand.js';

/** How interfaces are called, by kernel index: that depends on the node and on the time of recording. */
export class InterfaceNames {
  private readonly byFolder = new Map<string, Map<number, string>>();
  private readonly byNode = new Map<string, Map<number, string>>();

  /** Adds what an `ip -j` file says. Where two differ, the first counts. */
  add(file: InputFile, names: ReadonlyMap<number, string>): void {
    if (file.context && file.folder !== undefined) addAll(this.byFolder, file.folder, names);
    addAll(this.byNode, file.node ?? '', names);
  }

  /** A name for an interface in a capture: by what stands in the same recording, else by the node. */
  of(capture: InputFile, index: number): string | undefined {
    const own = capture.folder === undefined ? undefined : this.byFolder.get(capture.folder);
    return own?.get(index) ?? this.byNode.get(capture.node ?? '')?.get(index);
  }
}

function addAll(
  maps: Map<string, Map<number, string>>,
  key: string,
  names: ReadonlyMap<number, string>,
): void {
  const known = maps.get(key) ?? new Map<number, string>();
  maps.set(key, known);
  for (const [index, name] of names) if (!known.has(index)) known.set(index, name);
}
