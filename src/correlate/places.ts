const FIRST_PLACES = 4096;

/**
 * The open-addressing part of a hash table over small numbers: (hash, number + 1) pairs, eight bytes a
 * place, linear probing, deletion by backward shift. Who owns it knows what a number means and compares.
 */
export class Places {
  /** At 2 i the hash, at 2 i + 1 the number plus one; 0 there marks an empty place. */
  pairs = new Uint32Array(FIRST_PLACES * 2);
  mask = FIRST_PLACES - 1;
  private used = 0;

  /** To be called before an entry may be added: half of the places stay empty. */
  reserve(): void {
    if (this.used * 2 > this.mask) this.grow();
  }

  /** Fills an empty place. */
  fill(place: number, hash: number, number: number): void {
    this.pairs[2 * place] = hash;
    this.pairs[2 * place + 1] = number + 1;
    this.used++;
  }

  clear(place: number): void {
    const { pairs, mask } = this;
    let hole = place;
    for (let next = (hole + 1) & mask; pairs[2 * next + 1] !== 0; next = (next + 1) & mask) {
      const home = (pairs[2 * next] ?? 0) & mask;
      // Move an entry back into the hole only if its own place does not lie between them.
      if (((next - home) & mask) < ((next - hole) & mask)) continue;
      pairs[2 * hole] = pairs[2 * next] ?? 0;
      pairs[2 * hole + 1] = pairs[2 * next + 1] ?? 0;
      hole = next;
    }
    pairs[2 * hole + 1] = 0;
    this.used--;
  }

  /** Gives memory back when few places are used. */
  trim(): void {
    let mask = this.mask;
    while (mask > FIRST_PLACES && this.used * 8 < mask) mask >>>= 1;
    if (mask !== this.mask) this.resize(mask);
  }

  private grow(): void {
    this.resize(this.mask * 2 + 1);
  }

  private resize(mask: number): void {
    const old = this.pairs;
    const pairs = new Uint32Array((mask + 1) * 2);
    for (let from = 0; from < old.length; from += 2) {
      const entry = old[from + 1] ?? 0;
      if (entry === 0) continue;
      const hash = old[from] ?? 0;
      let i = hash & mask;
      while (pairs[2 * i + 1] !== 0) i = (i + 1) & mask;
      pairs[2 * i] = hash;
      pairs[2 * i + 1] = entry;
    }
    this.pairs = pairs;
    this.mask = mask;
  }
}
