import { datapathOf } from '../../decode/rules/datapath.js';
import { IptablesSaveReader } from '../../decode/rules/iptables-save.js';
import { iptablesServiceSteps } from '../../decode/rules/iptables-services.js';
import { kubeProxyVersions, losesMarks } from '../../decode/rules/kube-proxy-version.js';
import { readNftJsonSteps } from '../../decode/rules/nft-json.js';
import { nftServiceSteps } from '../../decode/rules/nft-services.js';
import { ownersOf, untrackedIn } from '../../decode/rules/other-owners.js';
import type { RuleSetFacts, RulesFacts } from '../../model/doctor.js';
import type { RuleSet } from '../../model/ruleset.js';
import { notStarted, runRuleProgram } from '../rules/rule-program.js';
import type { RunLimits, RunResult } from '../rules/run-program.js';
import { inSlices } from '../slices.js';
import { textOf } from './read.js';

/** As many bytes as live reads. */
const MAX_BYTES = 256 << 20;

/** What nft says of a table that is not there. */
const NO_TABLE = /No such file or directory/;
const REFUSED = /permission denied|operation not permitted|must be root/i;
/** What iptables-nft-save prints in place of a table with rules that it cannot understand. */
const INCOMPATIBLE = /# Table [`'](\w+)' is incompatible/;

/** The device on which kube-proxy's ipvs mode keeps every Service's address (pkg/proxy/ipvs/proxier.go). */
const IPVS_DEVICE = /^\s*kube-ipvs0:/m;
const VIRTUAL_SERVER = /^(?:TCP|UDP|SCTP|FWM) /m;

type Fault = RulesFacts['faults'][number];
type Limits = Pick<RunLimits, 'timeoutMs' | 'signal'>;

interface Reading {
  readonly sets: readonly RuleSetFacts[];
  readonly faults: readonly Fault[];
  readonly missing?: boolean;
}
const MISSING: Reading = { sets: [], faults: [], missing: true };

/** Which rules are where: both families of both iptables back ends and of nftables mode, read at the same time. */
export async function ruleFacts(root: string, limits: Limits): Promise<RulesFacts> {
  const families = [4, 6] as const;
  const [readings, ipvs, device] = await Promise.all([
    Promise.all([
      ...families.map((family) => iptables(family, limits)),
      ...families.map((family) => nftables(family, limits)),
    ]),
    textOf(`${root}proc/net/ip_vs`),
    textOf(`${root}proc/net/dev`),
  ]);
  const sign = IPVS_DEVICE.test(device ?? '')
    ? 'the device kube-ipvs0'
    : VIRTUAL_SERVER.test(ipvs ?? '')
      ? 'virtual servers in /proc/net/ip_vs'
      : undefined;
  return {
    sets: readings.flatMap(({ sets }) => sets),
    faults: readings.flatMap(({ faults }) => faults),
    ...(sign !== undefined && { ipvs: sign }),
  };
}

/** As live reads them: each back end by its own program, or by the one that is there. */
async function iptables(family: 4 | 6, limits: Limits): Promise<Reading> {
  const tool = family === 4 ? 'iptables' : 'ip6tables';
  const [nft, legacy] = await Promise.all([
    saved(`${tool}-nft-save`, family, limits),
    saved(`${tool}-legacy-save`, family, limits),
  ]);
  const readings = [nft, legacy];
  if (nft.missing || legacy.missing) {
    const plain = await saved(`${tool}-save`, family, limits);
    if (plain.missing && nft.missing && legacy.missing) {
      const reason = 'not found';
      return { sets: [], faults: [{ program: `${tool}-save`, reason }] };
    }
    const known = new Set(readings.flatMap(({ sets }) => sets.map(({ backend }) => backend)));
    readings.push({ ...plain, sets: plain.sets.filter((set) => !known.has(set.backend)) });
  }
  return {
    sets: readings.flatMap(({ sets }) => sets),
    faults: readings.flatMap(({ faults }) => faults),
  };
}

async function saved(program: string, family: 4 | 6, limits: Limits): Promise<Reading> {
  // Only the kind of zone matters here, not the time: nothing of it is told.
  let reader = new IptablesSaveReader({ offsetAt: () => 0, backend: 'unknown' });
  let incompatible: string | undefined;
  const result = await runRuleProgram([], [program], { ...limits, maxBytes: MAX_BYTES }, () => {
    reader = new IptablesSaveReader({ offsetAt: () => 0, backend: 'unknown' });
    return (chunk) => {
      if (chunk.length < SHORT) {
        incompatible ??= INCOMPATIBLE.exec(new TextDecoder().decode(chunk))?.[1];
      }
      reader.feed(chunk);
    };
  });
  if (notStarted(result)) return MISSING;
  if (result.end !== 'ran' || result.code !== 0) return failed(program, result);
  reader.end();
  const sets: RuleSetFacts[] = [];
  for (const rules of reader.dumps) {
    if (rules.family !== family) continue;
    const facts = await factsOf(rules, program, limits.signal);
    if (facts === undefined) return failed(program, { end: 'timeout', code: -1, stderr: '' });
    sets.push(facts);
  }
  const faults =
    incompatible === undefined
      ? []
      : [{ program, reason: `table ${incompatible} has rules that it does not understand` }];
  return { sets, faults };
}

/** A table that is replaced by a comment makes a short dump. */
const SHORT = 1 << 20;

async function nftables(family: 4 | 6, limits: Limits): Promise<Reading> {
  const chunks: Uint8Array[] = [];
  const command = ['nft', '-j', 'list', 'table', family === 4 ? 'ip' : 'ip6', 'kube-proxy'];
  const program = command.join(' ');
  const result = await runRuleProgram([], command, { ...limits, maxBytes: MAX_BYTES }, () => {
    chunks.length = 0;
    return (chunk) => chunks.push(chunk);
  });
  if (notStarted(result)) return MISSING;
  if (result.end === 'ran' && result.code !== 0 && NO_TABLE.test(result.stderr)) {
    return { sets: [], faults: [] };
  }
  if (result.end !== 'ran' || result.code !== 0) return failed(program, result);
  const late = failed(program, { end: 'timeout', code: -1, stderr: '' });
  const listing = await inSlices(readNftJsonSteps(Buffer.concat(chunks)), limits.signal);
  if (listing === undefined) return late;
  const fatal = listing.problems.find((problem) => problem.fatal);
  if (fatal !== undefined) return { sets: [], faults: [{ program, reason: fatal.message }] };
  const sets: RuleSetFacts[] = [];
  for (const rules of listing.rules) {
    if (rules.family !== family) continue;
    const facts = await factsOf(rules, program, limits.signal);
    if (facts === undefined) return late;
    sets.push(facts);
  }
  return { sets, faults: [] };
}

async function factsOf(
  rules: RuleSet,
  program: string,
  signal: AbortSignal,
): Promise<RuleSetFacts | undefined> {
  const steps =
    rules.kind === 'nftables' ? nftServiceSteps(rules, []) : iptablesServiceSteps(rules, []);
  const services = await inSlices(steps, signal);
  if (services === undefined) return undefined;
  const { kind, family, backend, version } = rules;
  const datapath = datapathOf(rules);
  return {
    kind,
    family,
    backend,
    program,
    ...(version !== undefined && { version }),
    ...(datapath !== undefined && { datapath }),
    addresses: new Set(services.map((s) => `${s.protocol} ${s.address} ${s.port}`)).size,
    ...kubeProxyVersions(rules),
    owners: ownersOf(rules),
    untracked: untrackedIn(rules),
    ...(losesMarks(rules) && { losesMarks: true }),
  };
}

function failed(program: string, result: RunResult): Reading {
  if (result.end === 'timeout' || result.end === 'aborted') {
    return { sets: [], faults: [{ program, reason: 'not read in time', late: true }] };
  }
  const said = result.stderr.trim().split('\n', 1)[0]?.slice(0, 200) ?? '';
  // Most begin with their own name and version.
  const reason =
    said.replace(/^\S+-save v\S+ \(\w+\): /, '') || `it ended with code ${result.code}`;
  const denied = REFUSED.test(result.stderr);
  return { sets: [], faults: [{ program, reason, ...(denied && { denied }) }] };
}
