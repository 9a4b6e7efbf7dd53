import { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';

/** The binary frames of a WebSocket as a stream of bytes, with back-pressure both ways. A text frame ends it. */
export function webSocketStream(webSocket: WebSocket): Duplex {
  const stream = new Duplex({
    read: () => webSocket.resume(),
    write: (chunk: Buffer, _encoding, done) => webSocket.send(chunk, done),
    writev: (chunks, done) => webSocket.send(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)), done),
    final(done) {
      webSocket.close();
      done();
    },
    destroy(error, done) {
      webSocket.terminate();
      done(error);
    },
  });
  stream.on('error', () => {}); // followed by `close`
  webSocket.on('message', (data: Buffer, isBinary) => {
    if (!isBinary) webSocket.close(1003, 'text frames are not supported');
    else if (!stream.push(data)) webSocket.pause();
  });
  webSocket.on('error', (error) => stream.destroy(error));
  webSocket.on('close', () => stream.destroy());
  return stream;
}
