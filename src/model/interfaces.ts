/** An interface on which packets were seen. What is not known is absent. */
export interface Interface {
  readonly name?: string;
  /** Kernel index, unique within one network namespace at one time. */
  readonly index?: number;
  readonly node?: string;
}

/**
 * The interfaces of a run, numbered as they turn up. Identifier 0 means "not known". Numbers differ
 * with the order in which inputs are read, so nothing may be ordered by them: use the name.
 */
export class Interfaces {
  private readonly list: Interface[] = [{}];
  private readonly byKey = new Map<string, number>();

  /** The identifier of an interface, made when first asked for. All of `name`, `index` unknown gives 0. */
  id(known: Interface): number {
    if (known.name === undefined && known.index === undefined) return 0;
    const key = `${known.node ?? ''}\0${known.name ?? ''}\0${known.name === undefined ? known.index : ''}`;
    let id = this.byKey.get(key);
    if (id === undefined) {
      id = this.list.length;
      this.list.push(known);
      this.byKey.set(key, id);
    }
    return id;
  }

  get(id: number): Interface {
    return this.list[id] ?? {};
  }

  /** The name, or `if7` where only the index is known, or `undefined`. */
  name(id: number): string | undefined {
    const it = this.get(id);
    return it.name ?? (it.index === undefined ? undefined : `if${it.index}`);
  }
}
