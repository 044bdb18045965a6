import { parseAddress } from '../../model/address.js';
import { BlockBuffer } from './block-buffer.js';
import type { CaptureSurvey } from './capture-survey.js';
import { addressBytes, type NameRecord, writeNames } from './names-block.js';
import { writeSectionHeader } from './section-header.js';

/** Addresses of which is kept what they were called: more than a cluster has. Names of others are told again. */
const MAX_CALLED = 262_144;

/**
 * The one section into which captures are copied: interfaces are numbered through, names are told once. (A section for
 * each capture would do for the format, but Wireshark looks up the names of interfaces by number over the whole file, and
 * libpcap and Wireshark's own tools do not go on into every second section.)
 */
export class OneSection {
  readonly out: BlockBuffer;
  /** Several captures' sections are in it. */
  readonly several: boolean;
  /** What all interfaces state; `undefined`: each its own. */
  readonly snapLength: number | undefined;
  /** Blocks and options that no program can read. */
  readonly leftOut = { blocks: 0, options: 0 };
  /** Blocks out of a section of the other byte order of which only their own program knows the numbers. */
  unturned = 0;
  private declared = 0;
  /** What an address was called last, by its bytes. */
  private readonly called = new Map<string, string>();

  /** `application`: what makes the section, where it is no copy of one. */
  constructor(application: string, survey: CaptureSurvey) {
    this.out = new BlockBuffer(survey.little);
    this.several = survey.several;
    this.snapLength = survey.snapLength;
    this.leftOut.options += writeSectionHeader(this.out, survey, application);
  }

  get waiting(): number {
    return this.out.length;
  }

  /** The blocks since the last call; may be read until the next is copied. */
  take(): Uint8Array {
    return this.out.take();
  }

  /** The number of the interface that is declared next. */
  declare(): number {
    return this.declared++;
  }

  /** Hears what a block that is copied calls an address. */
  hear(address: Uint8Array, name: string): void {
    this.call(address.join(), name);
  }

  /** Writes names of addresses that are not called so already. */
  names(records: readonly NameRecord[]): void {
    const words = new Uint32Array(4);
    const news = records.filter(({ address, names }) => {
      const family = parseAddress(address, words, 0);
      if (family === 0) return false;
      const key = addressBytes(words, family).join();
      const name = names.join('\0');
      if (this.called.get(key) === name) return false;
      this.call(key, name);
      return true;
    });
    writeNames(this.out, news);
  }

  private call(key: string, name: string): void {
    if (this.called.size < MAX_CALLED || this.called.has(key)) this.called.set(key, name);
  }
}
