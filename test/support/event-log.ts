/** What happened, in order, and a way to wait for what has not happened yet. */
export class EventLog<T> {
  readonly all: T[] = [];
  private waiting: {
    readonly fits: (event: T) => boolean;
    readonly found: (event: T) => void;
    readonly failed: (error: unknown) => void;
  }[] = [];

  push(event: T): void {
    this.all.push(event);
    const due = this.waiting.filter(({ fits }) => fits(event));
    this.waiting = this.waiting.filter((waiter) => !due.includes(waiter));
    for (const { found } of due) found(event);
  }

  /** Nothing more will come: whoever waits hears why. */
  fail(error: unknown): void {
    for (const { failed } of this.waiting.splice(0)) failed(error);
  }

  /** The first event that fits, from the `from`th on, as soon as there is one. */
  until(fits: (event: T) => boolean, from = 0): Promise<T> {
    const known = this.all.slice(from).find(fits);
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve, reject) => {
      this.waiting.push({ fits, found: resolve, failed: reject });
    });
  }

  /** Resolves when so many events fit. */
  async count(fits: (event: T) => boolean, number: number): Promise<void> {
    if (this.all.filter(fits).length >= number) return;
    await this.until(
      (event) => fits(event) && this.all.filter(fits).length >= number,
      this.all.length,
    );
  }
}
