import type { Attribution } from '../model/attribution.js';
import { KeptAttribution } from './kept-attribution.js';

/** A connection that is not over, between those that were first heard of before and after it. */
class Place {
  readonly kept = new KeptAttribution();
  before: Place | undefined;
  after: Place | undefined;
}

/** What was said last of connections that are not over; of more than `most`, those first heard of latest. */
export class OpenOnes {
  private readonly most: number;
  private readonly places = new Map<string, Place>();
  private first: Place | undefined;
  private last: Place | undefined;
  private readonly free: Place[] = [];

  constructor(most: number) {
    this.most = most;
  }

  set(attribution: Attribution): void {
    const { connection } = attribution;
    let place = this.places.get(connection);
    if (place === undefined) {
      if (this.places.size >= this.most && this.first !== undefined) this.drop(this.first);
      place = this.free.pop() ?? new Place();
      this.append(place);
      this.places.set(connection, place);
    }
    place.kept.set(attribution);
  }

  delete(connection: string): void {
    const place = this.places.get(connection);
    if (place !== undefined) this.drop(place);
  }

  /** In the order in which they were first heard of. */
  get all(): Attribution[] {
    const all: Attribution[] = [];
    for (let place = this.first; place !== undefined; place = place.after) {
      all.push(place.kept.get());
    }
    return all;
  }

  private append(place: Place): void {
    place.before = this.last;
    place.after = undefined;
    if (this.last === undefined) this.first = place;
    else this.last.after = place;
    this.last = place;
  }

  private drop(place: Place): void {
    this.places.delete(place.kept.connection);
    const { before, after } = place;
    if (before === undefined) this.first = after;
    else before.after = after;
    if (after === undefined) this.last = before;
    else after.before = before;
    this.free.push(place);
  }
}
