/**
 * How much sources have read from the kernel and not handed on yet. It grows while the machine is slower
 * than the traffic; what is in it at the end of a run was not looked at.
 */
export class Backlog {
  private readonly parts = new Set<() => number>();

  /** Counts a source's packets or messages too; what is returned stops that. */
  add(part: () => number): () => void {
    this.parts.add(part);
    return () => {
      this.parts.delete(part);
    };
  }

  /** Packets and messages, at this moment. */
  get size(): number {
    let sum = 0;
    for (const part of this.parts) sum += part();
    return sum;
  }
}
