import { UsageError } from '../model/problem.js';
import type { Child } from './processes.js';
import type { Site } from './site.js';
import type { LabOptions, LabService } from './spec.js';
import type { TrafficJob, TruthRow } from './traffic-client.js';

const REQUEST_TIMEOUT_MS = 5000;

export interface TrafficOptions {
  /** A Pod's name, `node`, or `outside`. */
  readonly from: string;
  /** `namespace/name`, `namespace/name:portName` (its ClusterIP), or `ip:port`, `[ip]:port`. */
  readonly to: string;
  readonly count: number;
  /** How many are under way at a time; default 1. */
  readonly concurrency?: number;
  readonly perSecond?: number;
  readonly protocol?: 'tcp' | 'udp';
  /** TCP: connections are used for many requests. UDP: one socket for all. Default false. */
  readonly keepAlive?: boolean;
  readonly timeoutMs?: number;
  /** Source ports are taken in turn from `first` on, `size` of them; absent: the kernel chooses. */
  readonly sourcePorts?: { readonly first: number; readonly size: number };
  /** Called with each row as it comes. */
  readonly onRow?: (row: TruthRow) => void;
}

export type ChurnOptions = Omit<TrafficOptions, 'count' | 'protocol' | 'keepAlive'> & {
  readonly connections: number;
};

/** Sends the traffic and waits for its end. */
export async function sendTraffic(
  site: Site,
  lab: LabOptions,
  mode: TrafficJob['mode'],
  options: TrafficOptions,
): Promise<readonly TruthRow[]> {
  if (options.count <= 0) return [];
  const job: TrafficJob = {
    mode,
    from: options.from,
    ...destination(lab, options.to),
    count: options.count,
    concurrency: Math.max(1, options.concurrency ?? 1),
    ...(options.perSecond === undefined ? {} : { perSecond: options.perSecond }),
    keepAlive: options.keepAlive ?? false,
    timeoutMs: options.timeoutMs ?? REQUEST_TIMEOUT_MS,
    ...(options.sourcePorts === undefined ? {} : { sourcePorts: options.sourcePorts }),
  };
  return collect(site.start(options.from, 'traffic-client', job), job, options.onRow);
}

function destination(
  options: LabOptions,
  to: string,
): Pick<TrafficJob, 'service' | 'host' | 'port'> {
  if (to.includes('/')) {
    const found = options.services.find((service) => isNamed(service, to));
    if (found === undefined) throw new UsageError(`lab: there is no Service ${to}`);
    return { service: fullName(found), host: found.clusterIP, port: found.port };
  }
  const cut = to.lastIndexOf(':');
  const host = to.slice(0, cut).replace(/^\[(.*)\]$/, '$1');
  const port = Number(to.slice(cut + 1));
  const own = [options.nodeAddress, '127.0.0.1'];
  const known = options.services.find((service) => {
    const addresses = [service.clusterIP, ...(service.externalIPs ?? [])];
    if (addresses.includes(host) && service.port === port) return true;
    return own.includes(host) && service.nodePort === port;
  });
  return { service: known === undefined ? '' : fullName(known), host, port };
}

/** Whether `namespace/name` or `namespace/name:portName` means it. */
export function isNamed(service: LabService, name: string): boolean {
  return name === `${service.namespace}/${service.name}` || name === fullName(service);
}

/** As truth rows name a Service: the unnamed port leaves its colon. */
function fullName(service: LabService): string {
  return `${service.namespace}/${service.name}:${service.portName ?? ''}`;
}

/** Reads a client's rows to their end; rejects if there are fewer than were asked for. */
function collect(
  child: Child,
  job: TrafficJob,
  onRow: ((row: TruthRow) => void) | undefined,
): Promise<readonly TruthRow[]> {
  const rows: TruthRow[] = [];
  let rest = '';
  let complaint = '';
  child.stdout.on('data', (piece: Buffer) => {
    const lines = (rest + piece.toString('latin1')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const row = JSON.parse(line) as TruthRow;
      rows.push(row);
      onRow?.(row);
    }
  });
  child.stderr.on('data', (piece: Buffer) => {
    complaint += piece.toString();
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      if (rows.length === job.count) resolve(rows);
      else
        reject(
          new Error(
            `lab: traffic ended early (${code}) after ${rows.length} of ${job.count}: ${complaint.trim()}`,
          ),
        );
    });
  });
}
