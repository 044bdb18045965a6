import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { createLab, type Lab } from '../../src/lab/lab.js';
import type { LabOptions } from '../../src/lab/spec.js';

const TUNNEL = fileURLToPath(new URL('./tunnel.py', import.meta.url));

export interface Overlay {
  readonly kind: 'vxlan' | 'geneve' | 'ipip';
  /** 0 where there are no ports. */
  readonly port: number;
}

/** The tunnel's device on both nodes. */
export const DEVICE = 'overlay0';

const NODES = [
  { where: 'node', local: '192.168.77.11', remote: '192.168.77.12', own: '10.250.0.1' },
  { where: 'outside', local: '192.168.77.12', remote: '192.168.77.11', own: '10.250.0.2' },
] as const;

const REMOTE = { namespace: 'shop', node: 'outside' } as const;
const OPTIONS: LabOptions = {
  layout: 'routed',
  ruleBackend: 'iptables-nft',
  chainNames: 'current',
  clusterCIDR: '10.244.0.0/16',
  podCIDR: '10.244.1.0/24',
  gateway: '10.244.1.1',
  nodeName: 'node1',
  nodeAddress: '192.168.77.11',
  outsideAddress: '192.168.77.12',
  outsideNode: { name: 'node2', podCIDR: '10.244.2.0/24', gateway: '10.244.2.1' },
  pods: [
    { namespace: 'shop', name: 'client', ip: '10.244.1.2' },
    { ...REMOTE, name: 'web-1', ip: '10.244.2.2' },
    { ...REMOTE, name: 'web-2', ip: '10.244.2.3' },
  ],
  services: [
    {
      namespace: 'shop',
      name: 'web',
      protocol: 'tcp',
      port: 80,
      clusterIP: '10.96.0.10',
      targetPort: 8080,
      endpoints: ['web-1', 'web-2'],
    },
    {
      namespace: 'shop',
      name: 'dns',
      protocol: 'udp',
      port: 53,
      clusterIP: '10.96.0.11',
      targetPort: 5353,
      endpoints: ['web-1', 'web-2'],
    },
  ],
};

export interface TwoNodes {
  readonly lab: Lab;
  /** Whether the kernel makes the tunnel; else a program of these tests does. */
  readonly byKernel: boolean;
  close(): Promise<void>;
}

/** Why there can be no tunnel of this kind here. */
export function tunnelUnavailable(byKernel: boolean): string | undefined {
  return byKernel || existsSync('/dev/net/tun')
    ? undefined
    : 'the kernel has neither this tunnel nor tun devices';
}

/** Two nodes with a Pod of the first and Pods of the second, and between them a tunnel. */
export async function createTwoNodes(overlay: Overlay): Promise<TwoNodes> {
  const lab = await createLab(OPTIONS);
  const programs: TunnelProgram[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(programs.map((program) => program.end()));
    await lab.close();
  };
  try {
    const made = await Promise.all(NODES.map((node) => makeByKernel(lab, overlay, node)));
    const byKernel = made.every((yes) => yes);
    const unavailable = tunnelUnavailable(byKernel);
    if (unavailable !== undefined) throw new Error(unavailable);
    for (const node of NODES) {
      if (!byKernel) programs.push(await TunnelProgram.start(lab, overlay, node));
      const [there] = NODES.filter((other) => other !== node);
      const pods = node.where === 'node' ? OPTIONS.outsideNode?.podCIDR : OPTIONS.podCIDR;
      const lines = [
        `address add ${node.own}/24 dev ${DEVICE}`,
        `link set ${DEVICE} mtu 1400 up`,
        `route add ${pods} via ${there?.own} dev ${DEVICE}`,
      ];
      const { code, stderr } = await lab.exec(node.where, ['ip', '-batch', '-'], {
        input: `${lines.join('\n')}\n`,
      });
      if (code !== 0) throw new Error(stderr);
    }
    return { lab, byKernel, close };
  } catch (error) {
    await close();
    throw error;
  }
}

type End = (typeof NODES)[number];

async function makeByKernel(
  lab: Lab,
  { kind, port }: Overlay,
  { where, local, remote }: End,
): Promise<boolean> {
  const how: Readonly<Record<Overlay['kind'], string>> = {
    vxlan: `id 1 local ${local} remote ${remote} dstport ${port} dev eth0`,
    geneve: `id 1 remote ${remote} dstport ${port}`,
    ipip: `local ${local} remote ${remote}`,
  };
  const words = `ip link add ${DEVICE} type ${kind} ${how[kind]}`;
  return (await lab.exec(where, words.split(' '))).code === 0;
}

class TunnelProgram {
  private readonly child: ChildProcessByStdio<Writable, Readable, null>;

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.child = child;
  }

  static async start(
    lab: Lab,
    { kind, port }: Overlay,
    { where, local, remote }: End,
  ): Promise<TunnelProgram> {
    const [command = '', ...rest] = lab.enter(where);
    const args = ['python3', TUNNEL, kind, DEVICE, local, remote, String(port)];
    const child = spawn(command, [...rest, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    await Promise.race([
      once(createInterface(child.stdout), 'line'),
      once(child, 'exit').then(([code]) => {
        throw new Error(`tunnel.py ended (${code})`);
      }),
    ]);
    return new TunnelProgram(child);
  }

  async end(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.stdin.end();
    await ended;
  }
}
