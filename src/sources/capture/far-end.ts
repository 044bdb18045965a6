import { readdirSync, readFileSync } from 'node:fs';

/** What CNIs call the node's ends of Pods' interfaces: bridge, ptp and flannel; Calico; Cilium; AWS; Azure; GKE. */
const POD_ENDS = /^(?:veth|cali|lxc|eni|azv|gke)/;

/**
 * Whether an interface's other end is in another network namespace, so that whoever is there is alone
 * behind it: a veth's. Its `iflink` is another index than its own, and unlike a VLAN's, which is that of
 * the device below, no device stands below it here. Where sysfs is of another namespace the name must do.
 */
export function leadsElsewhere(name: string): boolean {
  // A name comes from the kernel, but what is no single part of a path is asked nothing.
  if (name === '' || name.includes('/') || name.startsWith('.')) return false;
  const folder = `/sys/class/net/${name}`;
  try {
    const own = readFileSync(`${folder}/ifindex`, 'utf8').trim();
    const other = readFileSync(`${folder}/iflink`, 'utf8').trim();
    if (own === other) return false;
    return !readdirSync(folder).some((entry) => entry.startsWith('lower_'));
  } catch {
    return POD_ENDS.test(name);
  }
}
