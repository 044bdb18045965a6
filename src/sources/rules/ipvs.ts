import { readFileSync, statSync } from 'node:fs';
import { defer, EMPTY, type Observable, of } from 'rxjs';
import type { InputEvent } from '../../model/event.js';

/** The device on which kube-proxy's ipvs mode keeps every Service's address (pkg/proxy/ipvs/proxier.go). */
const DEVICE = 'sys/class/net/kube-ipvs0';
/** Headings, then a line a virtual server and real server; there once the module ip_vs is loaded. */
const TABLE = 'proc/net/ip_vs';
const VIRTUAL_SERVER = /^(?:TCP|UDP|SCTP|FWM) /m;

/**
 * Says by a notice whether the kernel of this network namespace shows kube-proxy's ipvs mode: by its
 * device, or by virtual servers. Looks once, on subscription. `root` is where /sys and /proc are.
 */
export function watchIpvs(root = '/'): Observable<InputEvent> {
  return defer(() => {
    const sign = signOf(root);
    if (sign === undefined) return EMPTY;
    const detail = `kube-proxy runs in ipvs mode (${sign}): there are no chains that lead to endpoints, so no paths; connections are attributed by conntrack and packets, and named by the cluster's objects`;
    return of<InputEvent>({ type: 'notice', notice: { code: 'proxy-mode-ipvs', detail } });
  });
}

function signOf(root: string): string | undefined {
  if (statSync(`${root}${DEVICE}`, { throwIfNoEntry: false }) !== undefined) {
    return 'the device kube-ipvs0 is there';
  }
  try {
    const has = VIRTUAL_SERVER.test(readFileSync(`${root}${TABLE}`, 'utf8'));
    return has ? '/proc/net/ip_vs has virtual servers' : undefined;
  } catch {
    // Not loaded, or not ours to read.
    return undefined;
  }
}
