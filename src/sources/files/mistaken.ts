/** What looks like evidence and is not the form of it that can be read, and which form can. */
interface Mistaken {
  readonly sign: RegExp;
  readonly advice: string;
}

const FORMS: readonly Mistaken[] = [
  {
    sign: /^table (?:ip6?|inet|arp|bridge|netdev) \S+ \{/m,
    advice: 'rules as nft prints them for people: take what nft -j list ruleset prints',
  },
  {
    sign: /^Chain \S+ \((?:policy [A-Z]+|\d+ references)/m,
    advice: 'rules as iptables -L prints them for people: take what iptables-save -c prints',
  },
  {
    sign: /^IP Virtual Server version /,
    advice:
      'the table of ipvs, which is not read: conntrack and packets tell where connections went without it',
  },
  {
    sign: /^(?:- )?(?:apiVersion: ?["']?v1\b|apiVersion: ?["']?discovery\.k8s\.io\/)/m,
    advice: 'Kubernetes objects as YAML: take what kubectl get -o json prints',
  },
  {
    sign: /^(?:NAMESPACE +)?NAME +(?:READY|STATUS|TYPE|ADDRESSTYPE|ENDPOINTS) /,
    advice: 'a table of kubectl for people: take what kubectl get -o json prints',
  },
  {
    sign: /^(?:\d{4}-\d\d-\d\d )?(?:\d\d:\d\d:\d\d\.\d+|\d{9,}\.\d+) (?:\S+ +(?:In|Out|B|M|P) +)?(?:IP6?|ARP) /,
    advice: 'packets as tcpdump prints them: take the file that tcpdump -w writes',
  },
  {
    sign: /^\s*\[\s*\{\s*"_index"\s*:/,
    advice: 'packets as tshark prints them: take the capture itself',
  },
];

/** As much of a file as its form is looked for in. */
const LOOK_BYTES = 4096;

/** What to take instead of a file that no reader knows; `undefined` if nothing is known about it. */
export function adviceFor(first: Uint8Array): string | undefined {
  const text = new TextDecoder().decode(first.subarray(0, LOOK_BYTES));
  return FORMS.find(({ sign }) => sign.test(text))?.advice;
}
