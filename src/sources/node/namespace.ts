import type { NamespaceFacts } from '../../model/doctor.js';
import { linkOf, textOf } from './read.js';

/** The kernel's number of its first PID namespace (include/linux/proc_ns.h, PROC_PID_INIT_INO). */
const FIRST_PID_NAMESPACE = 'pid:[4026531836]';

/**
 * Registered for the machine's first network namespace alone, since 2.6 (net/core/sysctl_net_core.c:
 * net_core_table, where netns_core_table is for all). The namespace's own number tells nothing before
 * Linux 6.18, and process 1 may be hidden or a container's.
 */
const ONLY_IN_THE_FIRST = 'proc/sys/net/core/netdev_max_backlog';

/** Which network namespace this process is in. `inPod`: Kubernetes' variables are in the environment. */
export async function namespaceFacts(root: string, inPod: boolean): Promise<NamespaceFacts> {
  const [own, first, pid, backlog] = await Promise.all([
    linkOf(`${root}proc/self/ns/net`),
    linkOf(`${root}proc/1/ns/net`),
    linkOf(`${root}proc/self/ns/pid`),
    textOf(`${root}${ONLY_IN_THE_FIRST}`),
  ]);
  return {
    ...(own !== undefined && { own }),
    ...(first !== undefined && { first }),
    initial: backlog !== undefined,
    ...(pid !== undefined && { firstProcessIsTheMachines: pid === FIRST_PID_NAMESPACE }),
    inPod,
  };
}
