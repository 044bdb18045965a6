import type { Subscriber } from 'rxjs';
import type { InputEvent } from '../../model/event.js';
import type { Nanos } from '../../model/time.js';
import { type RunLimits, type RunResult, runProgram } from './run-program.js';

/** 415,000 rules take iptables-nft-save 1.5 s on a quiet machine. */
export const TIMEOUT_MS = 60_000;
/** Seven times the rules of 5,000 Services with 20 endpoints each. */
export const MAX_BYTES = 256 << 20;

/** Where the programs are when PATH, as often outside of a login, lacks root's folders. */
const FOLDERS = ['', '/usr/sbin/', '/sbin/'];

/** Notices said once each; whoever causes more than this has been told. */
const MAX_SAID = 100;

const REFUSED = /permission denied|operation not permitted|must be root/i;
/** What sh, `ip netns exec` and nsenter say when the program after them does not exist. */
const NOT_THERE = /no such file or directory|not found|failed to execute/i;
/** nft's own errors begin so: a table that does not exist is `Error: No such file or directory`. */
const OWN_ERROR = /^(?:netlink: )?Error: /m;

/**
 * Runs a program that prints rules, from wherever it is; `begin` is called before each attempt, with the
 * path that is tried, and gives what takes its output.
 */
export async function runRuleProgram(
  prefix: readonly string[],
  [program = '', ...args]: readonly string[],
  limits: RunLimits,
  begin: (path: string) => (chunk: Uint8Array) => void,
): Promise<RunResult> {
  let result: RunResult = { end: 'missing', code: -1, stderr: '' };
  for (const folder of FOLDERS) {
    const path = `${folder}${program}`;
    result = await runProgram([...prefix, path, ...args], limits, begin(path));
    if (!notStarted(result)) break;
  }
  return result;
}

/** The program does not exist, as far as can be told through a prefix. */
export function notStarted({ end, code, stderr }: RunResult): boolean {
  if (end === 'missing') return true;
  return end === 'ran' && code !== 0 && NOT_THERE.test(stderr) && !OWN_ERROR.test(stderr);
}

/** Says what hinders the reading of rules: each thing once, and a loss where they could be read before. */
export class RuleHindrances {
  private readonly limits: Pick<RunLimits, 'timeoutMs' | 'maxBytes'>;
  private readonly now: () => Nanos;
  /** When each program last succeeded. */
  private readonly good = new Map<string, Nanos>();
  private readonly said = new Set<string>();

  constructor(limits: Pick<RunLimits, 'timeoutMs' | 'maxBytes'>, now: () => Nanos) {
    this.limits = limits;
    this.now = now;
  }

  say(out: Subscriber<InputEvent>, code: string, detail: string): void {
    const key = `${code} ${detail}`;
    if (this.said.has(key) || this.said.size >= MAX_SAID) return;
    this.said.add(key);
    out.next({ type: 'notice', notice: { code, time: this.now(), detail } });
  }

  succeeded(program: string, at: Nanos): void {
    this.good.set(program, at);
  }

  failed(out: Subscriber<InputEvent>, program: string, result: RunResult, at: Nanos): void {
    const why = this.reason(result);
    if (REFUSED.test(result.stderr)) {
      this.say(
        out,
        'rules-permission',
        `${program} may not read the rules (${why}); run as root, or in a container add NET_ADMIN and NET_RAW to securityContext.capabilities`,
      );
    } else {
      this.say(out, 'rules-failed', `${program} could not read the rules: ${why}`);
    }
    const from = this.good.get(program);
    if (from === undefined) return;
    const detail = `${program} could not read the rules: ${why}`;
    out.next({ type: 'loss', loss: { source: 'rules', count: 1, from, to: at, detail } });
  }

  private reason(result: RunResult): string {
    switch (result.end) {
      case 'timeout':
        return `it took more than ${this.limits.timeoutMs / 1_000} s`;
      case 'too-much':
        return `it printed more than ${this.limits.maxBytes} bytes`;
      default:
        return result.stderr.trim().slice(0, 300) || `it ended with code ${result.code}`;
    }
  }
}
