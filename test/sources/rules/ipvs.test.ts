import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lastValueFrom, toArray } from 'rxjs';
import { afterAll, expect, test } from 'vitest';
import { watchIpvs } from '../../../src/sources/rules/ipvs.js';

const folder = mkdtempSync(join(tmpdir(), 'ipvs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const HEADINGS = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
`;
const SERVER = `TCP  0A60000A:0050 rr
  -> 0AF40105:0050      Masq    1      0          0
`;

/** A file system root with these files. */
function root(name: string, files: Readonly<Record<string, string>>): string {
  for (const [path, text] of Object.entries(files)) {
    const file = join(folder, name, path);
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, text);
  }
  return `${join(folder, name)}/`;
}

test.each([
  ['neither sign', {}, undefined],
  ['the device', { 'sys/class/net/kube-ipvs0/ifindex': '7' }, 'the device kube-ipvs0 is there'],
  ['the module without servers', { 'proc/net/ip_vs': HEADINGS }, undefined],
  [
    'virtual servers',
    { 'proc/net/ip_vs': HEADINGS + SERVER },
    '/proc/net/ip_vs has virtual servers',
  ],
  ['a folder in its place', { 'proc/net/ip_vs/x': '' }, undefined],
])('with %s', async (name, files, sign) => {
  const events = await lastValueFrom(watchIpvs(root(name, files)).pipe(toArray()));
  expect(events).toEqual(
    sign === undefined
      ? []
      : [
          {
            type: 'notice',
            notice: { code: 'proxy-mode-ipvs', detail: expect.stringContaining(`(${sign})`) },
          },
        ],
  );
});
