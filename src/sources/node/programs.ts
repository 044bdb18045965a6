import type { ProgramFacts } from '../../model/doctor.js';
import { runRuleProgram } from '../rules/rule-program.js';
import { type RunLimits, type RunResult, runProgram } from '../rules/run-program.js';

/** Those that live may run. It looks for conntrack in PATH alone, for the others in root's folders too. */
const PROGRAMS: readonly string[] = [
  'conntrack',
  'iptables-nft-save',
  'iptables-legacy-save',
  'iptables-save',
  'ip6tables-nft-save',
  'ip6tables-legacy-save',
  'ip6tables-save',
  'nft',
];

/** A version is a line; what prints more is not what it is taken for. */
const MAX_BYTES = 4_096;

/** Which programs are there, by asking each for its version. */
export function programFacts(limits: Omit<RunLimits, 'maxBytes'>): Promise<ProgramFacts[]> {
  return Promise.all(PROGRAMS.map((name) => programOf(name, limits)));
}

async function programOf(name: string, limits: Omit<RunLimits, 'maxBytes'>): Promise<ProgramFacts> {
  let said = '';
  let path = name;
  const take = (tried: string) => {
    said = '';
    path = tried;
    return (chunk: Uint8Array): void => {
      said += new TextDecoder().decode(chunk);
    };
  };
  const bounded = { ...limits, maxBytes: MAX_BYTES };
  const result: RunResult =
    name === 'conntrack'
      ? await runProgram([name, '-V'], bounded, take(name))
      : await runRuleProgram([], [name, '-V'], bounded, take);
  if (result.end === 'missing') return { name };
  // nft prints its features below the version.
  const text = `${said}\n${result.stderr}`;
  const [, version] = /\bv?(\d+\.\d+(?:\.\d+)*)/.exec(text) ?? [];
  const [, kind] = /\((nf_tables|legacy)\)/.exec(text) ?? [];
  const fault = result.end === 'ran' ? undefined : result.end;
  return {
    name,
    found: {
      path,
      ...(version !== undefined && { version }),
      ...(kind !== undefined && { backend: kind === 'legacy' ? 'legacy' : 'nft' }),
      ...(fault !== undefined && { fault }),
    },
  };
}
