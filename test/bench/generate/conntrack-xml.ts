import {
  addressText,
  clientAddress,
  endpointAddress,
  SERVICE_PORT,
  scramble,
  serviceAddress,
  TARGET_PORT,
  type World,
} from './world.js';

/** `conntrack -L -o xml` of conntrack-tools 1.4.7, one translated connection an entry. */
export function* conntrackXml(world: World, entries: number): Generator<string> {
  yield '<?xml version="1.0" encoding="utf-8"?>\n<conntrack>\n';
  for (let n = 0; n < entries; n++) yield entry(world, n);
  yield '</conntrack>\n';
}

function entry(world: World, n: number): string {
  const service = scramble(n) % world.services;
  const client = addressText(4, clientAddress(4, n % world.clients));
  const port = 1024 + (Math.floor(n / world.clients) % 64_000);
  const vip = addressText(4, serviceAddress(4, service));
  const pod = scramble(n + 1) % world.endpointsEach;
  const endpoint = addressText(4, endpointAddress(4, world, service, pod));
  const id = scramble(n + 2);
  const there = meta('original', client, vip, port, SERVICE_PORT);
  const back = meta('reply', endpoint, client, TARGET_PORT, port);
  return `<flow>${there}${back}<meta direction="independent"><state>ESTABLISHED</state><timeout>${n % 86_400}</timeout><mark>0</mark><use>1</use><id>${id}</id><assured/></meta></flow>\n`;
}

function meta(direction: string, src: string, dst: string, sport: number, dport: number): string {
  return `<meta direction="${direction}"><layer3 protonum="2" protoname="ipv4"><src>${src}</src><dst>${dst}</dst></layer3><layer4 protonum="6" protoname="tcp"><sport>${sport}</sport><dport>${dport}</dport></layer4></meta>`;
}
