import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { filesOf, replay } from './scenario.js';

const SCENARIO = '1.30-iptables-nft/12-source-port-reuse';

it("kubectl's pretty-printed JSON of more than two read buffers says what the compact lists say", async () => {
  const folder = mkdtempSync(join(tmpdir(), 'whichpod-json-'));
  try {
    const lists = filesOf(SCENARIO, [/^api\/(pods|services|endpointslices|nodes)\.json/]);
    const items = lists.flatMap((file) => {
      const list = JSON.parse(gunzipSync(readFileSync(file)).toString('utf8'));
      const kind = String(list.kind).replace(/List$/, '');
      return list.items.map((item: object) => ({ kind, apiVersion: list.apiVersion, ...item }));
    });
    const text = JSON.stringify({ kind: 'List', apiVersion: 'v1', items }, null, 8);
    expect(text.length).toBeGreaterThan(512 * 1024);
    const file = join(folder, 'objects.json');
    writeFileSync(file, text);
    const others = filesOf(SCENARIO, [/conntrack-events\.txt/, /tables-save/]);
    const compact = await replay([...others, ...lists]);
    const pretty = await replay([...others, file]);
    expect(pretty.code).toBe(0);
    expect(pretty.stdout).toBe(compact.stdout);
    const told = pretty.lines.find(({ type }) => type === 'attribution');
    expect(told?.backend?.pod?.name).toBeDefined();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
