import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Writes a kubeconfig with one cluster, user and context; the file's path. JSON is YAML. */
export function writeKubeconfig(
  folder: string,
  of: { server: string; user: object; ca?: string; context?: string },
): string {
  const name = of.context ?? 'test';
  const cluster = {
    server: of.server,
    ...(of.ca === undefined ? {} : { 'certificate-authority-data': of.ca }),
  };
  const file = join(folder, 'config');
  writeFileSync(
    file,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name, cluster }],
      users: [{ name, user: of.user }],
      contexts: [{ name, context: { cluster: name, user: name } }],
      'current-context': name,
    }),
  );
  return file;
}
