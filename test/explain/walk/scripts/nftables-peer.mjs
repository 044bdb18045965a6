// One end of the wire: sends the datagrams that it is told to on stdin, and tells on stdout what arrives.
// Arguments: the addresses `ip:port` at which it listens.
import { createSocket } from 'node:dgram';
import { createInterface } from 'node:readline';

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const listening = process.argv.slice(2).map(
  (at) =>
    new Promise((resolve) => {
      const [address, port] = at.split(':');
      const socket = createSocket('udp4');
      socket.on('error', () => {});
      socket.on('message', (bytes, from) =>
        say({ id: Number(bytes.toString()), at, from: `${from.address}:${from.port}` }),
      );
      socket.bind(Number(port), address, resolve);
    }),
);

// An ICMP error comes back as an error of the socket, which says nothing new.
async function send({ from, port, to, first, last, id }) {
  const socket = createSocket('udp4');
  socket.on('error', () => {});
  await new Promise((resolve) => socket.bind(port, from, resolve));
  for (let number = first; number <= last; number++) {
    await new Promise((resolve) => socket.send(String(id), number, to, resolve));
  }
  await new Promise((resolve) => socket.close(resolve));
}

await Promise.all(listening);
say({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  await send(order);
  say({ sent: order.id });
}
process.exit(0);
