import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { readIpJson } from '../../../src/decode/net/ip-json.js';
import { IptablesSaveReader } from '../../../src/decode/rules/iptables-save.js';
import { readNftJson } from '../../../src/decode/rules/nft-json.js';
import { exploreWalk } from '../../../src/explain/walk/explore.js';
import type { RuleSet } from '../../../src/model/ruleset.js';
import type { Distribution, FirstPacket } from '../../../src/model/walk.js';

const PCAPS = fileURLToPath(new URL('../../../pcaps/', import.meta.url));
const PROTOCOLS: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132 };

/** A request that was answered (truth.jsonl). */
export interface Served {
  readonly proto: string;
  readonly src: string;
  readonly dst: string;
  readonly dport: number;
  readonly t0: number;
  readonly ok: boolean;
  readonly pod: string;
  readonly podIP?: string;
  readonly podPort?: number;
  readonly seenSrc?: string;
}

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly status: { readonly podIPs?: readonly { readonly ip: string }[] };
  }[];
}

/** What a folder of pcaps/ holds for a walk. */
export class Recording {
  readonly folder: string;
  readonly addresses: ReadonlySet<string>;
  private readonly dumps: readonly (readonly RuleSet[])[];
  private rows: readonly Served[] | undefined;
  private pods: ReadonlyMap<string, readonly string[]> | undefined;
  private readonly known = new Map<string, readonly Distribution[]>();

  constructor(name: string) {
    this.folder = join(PCAPS, name);
    const net = ['net/addr.json', 'net/addr.json.gz'].find((file) =>
      existsSync(join(this.folder, file)),
    );
    if (net === undefined) throw new Error(`${name}: no addresses`);
    this.addresses = new Set(readIpJson(this.read(net)).addresses);
    this.dumps = this.readDumps();
  }

  get served(): readonly Served[] {
    this.rows ??= this.readRows();
    return this.rows;
  }

  private readRows(): readonly Served[] {
    const name = readdirSync(this.folder).find((file) => file.startsWith('truth'));
    if (name === undefined) throw new Error(`${this.folder}: no truth`);
    return this.read(name)
      .toString()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Served)
      .filter(({ ok }) => ok);
  }

  /** What could become of a connection, by each rule set that was in force: one where rules stayed as they were. */
  walks(proto: string, source: string, destination: string, port: number): readonly Distribution[] {
    const key = `${proto} ${source} ${destination} ${port}`;
    let walks = this.known.get(key);
    if (!walks) {
      const packet: FirstPacket = {
        protocol: PROTOCOLS[proto] ?? 0,
        source,
        destination,
        port,
        from: { kind: this.addresses.has(source) ? 'node' : 'interface' },
      };
      walks = this.dumps.map((rules) => exploreWalk(rules, packet, { addresses: this.addresses }));
      this.known.set(key, walks);
    }
    return walks;
  }

  /** Of a Pod by its name: rows of UDP and SCTP have no more. */
  ipsOf(pod: string): readonly string[] {
    this.pods ??= this.readPods();
    // One that is gone was listed no more; its TCP answers tell.
    const { podIP } = this.served.find((row) => row.pod === pod && row.podIP !== undefined) ?? {};
    return this.pods.get(pod) ?? (podIP === undefined ? [] : [podIP]);
  }

  private readPods(): ReadonlyMap<string, readonly string[]> {
    const name = readdirSync(join(this.folder, 'api')).find((file) => file.startsWith('pods.json'));
    const list = JSON.parse(
      name === undefined ? '{"items":[]}' : this.read(`api/${name}`).toString(),
    ) as PodList;
    return new Map(
      list.items.map(({ metadata, status }) => [
        metadata.name,
        (status.podIPs ?? []).map(({ ip }) => ip),
      ]),
    );
  }

  private read(name: string): Buffer {
    const bytes = readFileSync(join(this.folder, name));
    return name.endsWith('.gz') ? gunzipSync(bytes) : bytes;
  }

  private readDumps(): RuleSet[][] {
    const names = readdirSync(this.folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
      /(?:tables-save|nft-ruleset)[^/]*$/.test(name),
    );
    const dumps = new Map<string, RuleSet[]>();
    for (const name of names) {
      // Each was in force at a time of its own.
      const time =
        /-(\d{9,}[.]\d+)[.]/.exec(name)?.[1] ?? (name.includes('before') ? 'before' : '');
      dumps.set(time, [...(dumps.get(time) ?? []), ...rulesOf(this.read(name), name)]);
    }
    return [...dumps.values()];
  }
}

export function rulesOf(bytes: Uint8Array, name = 'iptables-save'): readonly RuleSet[] {
  if (name.includes('nft-ruleset')) return readNftJson(bytes).rules;
  const reader = new IptablesSaveReader();
  reader.feed(bytes);
  reader.end();
  return reader.dumps;
}
