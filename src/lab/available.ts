import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { LabOptions, RuleBackend } from './spec.js';

/** Programs without which no lab can be built; the rule programs depend on the backend. */
const PROGRAMS = ['ip', 'nsenter'];

/** Why no lab can be built on this machine; undefined when one can. */
export function labUnavailable(options?: Pick<LabOptions, 'ruleBackend'>): string | undefined {
  if (process.platform !== 'linux') return 'not Linux';
  if (process.geteuid?.() !== 0) return 'not root';
  const programs = [...PROGRAMS];
  if (options !== undefined) programs.push(...rulePrograms(options.ruleBackend));
  const missing = programs.filter((program) => !isInstalled(program));
  return missing.length === 0 ? undefined : `not installed: ${missing.join(', ')}`;
}

function rulePrograms(backend: RuleBackend): string[] {
  return backend === 'nftables' ? ['nft'] : [`${backend}-restore`, `${backend}-save`];
}

function isInstalled(program: string): boolean {
  const { PATH = '' } = process.env;
  return PATH.split(delimiter).some((directory) => {
    const path = join(directory, program);
    if (!existsSync(path)) return false;
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
