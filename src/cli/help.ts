/** Examples and explanations at the end of each command's help. */
export const PROGRAM_HELP = `
Examples:
  $ whichpod demo               see it work on this machine, without a cluster
  $ whichpod live               attribute this node's connections as they happen
  $ whichpod replay recording/  the same from recordings
  $ whichpod record -w f.pcapng keep it for a replay elsewhere

Exit codes: 0 done; 1 found what --fail-on asked for; 2 wrong usage or unusable
input; 3 a permission is missing; 130 interrupted; 70 a fault in whichpod.
`;

const TABLE_LEGEND = `
RESULT is what came of the connection (established, refused, reset, unanswered,
rejected, open), or why it could not be attributed, or conflict. A row marked ~
corrects an earlier one. EVID names what agreed: C conntrack, P packets,
R rules, K the cluster. LATENCY: from the first sight before translation to the
first sight after / from SYN to SYN-ACK.

An option given again adds to it (or), different options narrow (and). Summary
and --fail-on are always about everything that was seen, shown or not.
`;

export const LIVE_HELP = `
Examples:
  $ whichpod live
  $ whichpod live --service default/nginx --duration 30s
  $ whichpod live --outcome refused,unanswered -n shop --count 1000
  $ whichpod live -w case.pcapng               and write it down
  $ whichpod live -o ndjson | jq -r 'select(.type == "close").backend.pod.name'
${TABLE_LEGEND}`;

export const REPLAY_HELP = `
An INPUT is a file or a folder. Files are recognised by their content: pcap and
pcapng (gzip too), iptables-save, nft -j list ruleset, conntrack as XML or text,
Kubernetes objects, watch events, and what whichpod record wrote. NAME=PATH says
which node a recording is from, PATH@TIME when a file without times of its own
was written.

Examples:
  $ whichpod replay recording/
  $ whichpod replay node1=a/ node2=b/          two nodes as one, each end named
  $ whichpod replay capture.pcapng rules.txt pods.json --node node1 -o wide
  $ whichpod replay conntrack.xml@2026-11-22T19:55:00Z rules.txt --tz +01:00
  $ whichpod replay case.pcapng --speed 1      what record wrote, as it came
  $ whichpod replay recording/ -o summary --fail-on conflict,unattributed,loss
  $ whichpod replay capture.pcap rules.txt pods.json -w annotated.pcapng
${TABLE_LEGEND}
Exit codes: 0 done, also of an input that is cut (a loss tells); 1 found what
--fail-on asked for; 2 wrong usage, or nothing that can be used; 3 a permission
is missing; 130 interrupted.
`;

export const DEMO_HELP = `
Builds a small node in network namespaces (Linux, root), sends requests to a
Service with four Pods and shows which Pod served each. Elsewhere it replays a
recording and says so.

Examples:
  $ whichpod demo
  $ sudo whichpod demo --count 20 -o wide
${TABLE_LEGEND}`;
